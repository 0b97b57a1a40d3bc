// What procfs is made of: directories that make their entries up, and files that are generated when
// they are read. Private to fs/.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "fs/inode.h"
#include "fs/mount.h"
#include "fs/path.h"
#include "fs/process_view.h"
#include "lib/result.h"
#include "lib/vec.h"
#include "vm/commit.h"

namespace holstein {

// Appends formatted text of at most 255 bytes.
[[nodiscard, gnu::format(printf, 2, 3)]] Result<void> append_format(String& to, const char* format,
                                                                    ...);

class ProcInode : public Inode {
 public:
  ProcInode(Superblock& superblock, FileType type, std::uint64_t number)
      : Inode(superblock, type, number) {}
  // /proc is what it is: chmod and chown are refused, times are taken and mean nothing.
  Result<void> set_attributes(const AttributeChange& change) override;
};

// A file whose text is made when a read starts at its beginning.
class ProcText : public ProcInode {
 public:
  ProcText(Superblock& superblock, std::uint64_t number)
      : ProcInode(superblock, FileType::kRegular, number) {}

  virtual Result<void> generate(String& to) = 0;
  // One write(2), whole. EINVAL, EPERM, EACCES.
  virtual Result<void> store(std::string_view text, const Credentials& who);

  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags, const Credentials& who) override;
  Result<void> resize(std::uint64_t) override { return {}; }  // `> file` truncates first
};

// A directory that can be opened and read.
class ProcDirectory : public ProcInode {
 public:
  ProcDirectory(Superblock& superblock, std::uint64_t number)
      : ProcInode(superblock, FileType::kDirectory, number) {}
  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags, const Credentials& who) override;

 protected:
  // Makes the dentry that a lookup gives.
  static Result<RefPtr<Dentry>> entry(Dentry& self, std::string_view name, Inode* made);
};

// Numbers of inodes: fixed ones for the tree of the whole system, the others by process.
constexpr std::uint64_t proc_inode_number(std::int32_t pid, std::uint32_t index) {
  return (static_cast<std::uint64_t>(pid) << 24) + index + 1;
}

// "123" with nothing around it and no leading zero; 0 where `name` is none.
std::int32_t parse_proc_number(std::string_view name);

// Text of the fixed files; each makes the whole file.
using GenerateText = Result<void> (*)(String& to);
using StoreText = Result<void> (*)(std::string_view text, const Credentials& who);

Result<void> generate_version(String& to);
Result<void> generate_cpuinfo(String& to);
Result<void> generate_uptime(String& to);
Result<void> generate_loadavg(String& to);
Result<void> generate_stat(String& to);
Result<void> generate_filesystems(String& to);
Result<void> generate_cmdline(String& to);
Result<void> generate_devices(String& to);
Result<void> generate_meminfo(String& to);
Result<void> generate_vmstat(String& to);
Result<void> generate_buddyinfo(String& to);
Result<void> generate_slabinfo(String& to);
Result<void> generate_iomem(String& to);

// /proc/sys/vm: see fs/procfs_overcommit.cc.
Result<void> generate_commit_setting(CommitSetting which, String& to);
Result<void> store_commit_setting(CommitSetting which, std::string_view text);

// /proc/holstein, in debug kernels: see fs/procfs_holstein.cc.
Result<void> store_check(std::string_view text, const Credentials& who);
Result<void> generate_double_fetch(String& to);
Result<void> store_double_fetch(std::string_view text, const Credentials& who);
Result<void> generate_fail_allocation(String& to);
Result<void> store_fail_allocation(std::string_view text, const Credentials& who);

// Text of the files of a process.
Result<void> generate_process_stat(ProcessView& process, String& to);
Result<void> generate_process_statm(ProcessView& process, String& to);
Result<void> generate_process_status(ProcessView& process, String& to);
Result<void> generate_process_limits(ProcessView& process, String& to);
Result<void> generate_process_io(ProcessView& process, String& to);
Result<void> generate_maps(ProcessView& process, String& to);
Result<void> generate_smaps(ProcessView& process, String& to);
Result<void> generate_smaps_rollup(ProcessView& process, String& to);
Result<void> generate_page_tables(ProcessView& process, String& to);
Result<void> generate_mounts(ProcessView& process, String& to);
Result<void> generate_mountinfo(ProcessView& process, String& to);
Result<void> generate_command_line(ProcessView& process, String& to);
Result<void> generate_environment(ProcessView& process, String& to);

// EACCES unless `who` may look into the process (fs/inspection.h).
Result<void> check_inspection(ProcessView& process, const Credentials& who);

// /proc/<pid>, or /proc/<pid>/task/<tid> with `is_thread`. ENOENT.
Result<Inode*> make_process_directory(Superblock& superblock, std::int32_t id, bool is_thread);
// Directories of descriptors: /proc/<pid>/fd and fdinfo.
enum class DescriptorView : std::uint8_t { kLinks, kDetails };
Inode* make_descriptor_directory(Superblock& superblock, RefPtr<ProcessView> process,
                                 std::uint64_t number, DescriptorView view);
// /proc/<pid>/mem.
Inode* make_memory_node(Superblock& superblock, RefPtr<ProcessView> process, std::uint64_t number);
// /proc/<pid>/pagemap.
Inode* make_pagemap(Superblock& superblock, RefPtr<ProcessView> process, std::uint64_t number);

}  // namespace holstein
