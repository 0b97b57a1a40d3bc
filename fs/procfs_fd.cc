// /proc/<pid>/fd: links to what the descriptors stand for; /proc/<pid>/fdinfo: position and flags.
#include <new>

#include "fs/procfs_nodes.h"

namespace holstein {
namespace {

// Inode numbers of links and texts, behind those of the process's own entries.
constexpr std::uint32_t kFirstLink = 256;
constexpr std::uint32_t kFirstDetail = 1 << 23;

class DescriptorLink final : public ProcInode {
 public:
  DescriptorLink(Superblock& superblock, std::uint64_t number, RefPtr<ProcessView> process,
                 int descriptor)
      : ProcInode(superblock, FileType::kSymlink, number),
        process_(std::move(process)),
        descriptor_(descriptor) {}
  bool is_magic_link() const override { return true; }
  Result<Path> follow_magic_link(const Credentials& who) override {
    TRY(check_inspection(*process_, who));
    bool close_on_exec = false;
    const RefPtr<File> file = process_->descriptor(descriptor_, close_on_exec);
    if (!file) return fail(Errno::kENOENT);
    return file->path();
  }
  Result<void> read_link(const Credentials& who, String& target) override {
    TRY_ASSIGN(const Path place, follow_magic_link(who));
    return append_path(place, port::caller_root(), target);
  }

 private:
  const RefPtr<ProcessView> process_;
  const int descriptor_;
};

class DescriptorDetails final : public ProcText {
 public:
  DescriptorDetails(Superblock& superblock, std::uint64_t number, RefPtr<ProcessView> process,
                    int descriptor)
      : ProcText(superblock, number), process_(std::move(process)), descriptor_(descriptor) {}
  Result<void> generate(String& to) override {
    bool close_on_exec = false;
    const RefPtr<File> file = process_->descriptor(descriptor_, close_on_exec);
    if (!file) return fail(Errno::kENOENT);
    const std::uint32_t flags = file->flags() | (close_on_exec ? kOpenCloseOnExec : 0);
    return append_format(to, "pos:\t%lli\nflags:\t0%o\nmnt_id:\t%llu\nino:\t%llu\n",
                         static_cast<long long>(file->is_seekable() ? file->position() : 0), flags,
                         static_cast<unsigned long long>(file->path().mount->id()),
                         static_cast<unsigned long long>(file->inode().number()));
  }

 private:
  const RefPtr<ProcessView> process_;
  const int descriptor_;
};

class DescriptorDirectory final : public ProcDirectory {
 public:
  DescriptorDirectory(Superblock& superblock, std::uint64_t number, RefPtr<ProcessView> process,
                      DescriptorView view)
      : ProcDirectory(superblock, number), process_(std::move(process)), view_(view) {}

  Result<RefPtr<Dentry>> lookup(Dentry& self, std::string_view name) override REQUIRES(lock) {
    const int descriptor = name == "0" ? 0 : parse_proc_number(name);
    if (descriptor == 0 && name != "0") return fail(Errno::kENOENT);
    TRY_ASSIGN(const ProcessStatus status, process_->status());
    bool close_on_exec = false;
    const RefPtr<File> file = process_->descriptor(descriptor, close_on_exec);
    if (!file) return fail(Errno::kENOENT);
    Inode* made = nullptr;
    std::uint32_t permissions = 0444;
    if (view_ == DescriptorView::kLinks) {
      made = new (std::nothrow)
          DescriptorLink(superblock(), number_of(status.pid, descriptor), process_, descriptor);
      // As Linux: what the link's mode shows is what the descriptor may do.
      permissions = 0100 | (file->is_readable() ? 0400 : 0) | (file->is_writable() ? 0200 : 0);
    } else {
      made = new (std::nothrow)
          DescriptorDetails(superblock(), number_of(status.pid, descriptor), process_, descriptor);
    }
    constexpr unsigned kEffective = 1;
    if (made != nullptr) {
      made->initialise(permissions, status.uid[kEffective], status.gid[kEffective], 1);
    }
    return entry(self, name, made);
  }

  // A position is one more than the descriptor that was emitted last.
  Result<void> read_directory(Dentry&, DirectorySink& sink, std::uint64_t& position) override
      REQUIRES(lock) {
    TRY_ASSIGN(const ProcessStatus status, process_->status());
    const FileType type = view_ == DescriptorView::kLinks ? FileType::kSymlink : FileType::kRegular;
    int descriptor = static_cast<int>(position) - 1;
    String name;
    while ((descriptor = process_->next_descriptor(descriptor)) >= 0) {
      name.clear();
      TRY(append_format(name, "%d", descriptor));
      const std::uint64_t next = static_cast<std::uint64_t>(descriptor) + 1;
      if (!sink.emit(name.view(), number_of(status.pid, descriptor), type, next)) return {};
      position = next;
    }
    return {};
  }

 private:
  std::uint64_t number_of(std::int32_t pid, int descriptor) const {
    const std::uint32_t first = view_ == DescriptorView::kLinks ? kFirstLink : kFirstDetail;
    return proc_inode_number(pid, first + static_cast<std::uint32_t>(descriptor));
  }

  const RefPtr<ProcessView> process_;
  const DescriptorView view_;
};

}  // namespace

Inode* make_descriptor_directory(Superblock& superblock, RefPtr<ProcessView> process,
                                 std::uint64_t number, DescriptorView view) {
  return new (std::nothrow) DescriptorDirectory(superblock, number, std::move(process), view);
}

}  // namespace holstein
