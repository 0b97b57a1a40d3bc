// /proc/<pid>/pagemap: eight bytes for each page of the address space, as Linux's
// Documentation/admin-guide/mm/pagemap.rst has them.
#include <algorithm>
#include <new>

#include "fs/procfs_nodes.h"
#include "fs/resident_pages.h"
#include "fs/throttle.h"
#include "uaccess/io_iterator.h"

namespace holstein {
namespace {

constexpr std::uint64_t kEntryBytes = 8;
constexpr std::uint64_t kPresent = 1ULL << 63;
constexpr std::uint64_t kFileOrShared = 1ULL << 61;
constexpr std::uint64_t kExclusive = 1ULL << 56;
constexpr std::uint64_t kFrameMask = (1ULL << 55) - 1;
constexpr std::size_t kBatch = 64;  // entries at a time

class PagemapFile final : public File {
 public:
  PagemapFile(const Path& path, std::uint32_t flags, RefPtr<ProcessView> process, bool shows_frames)
      : File(path, flags), process_(std::move(process)), shows_frames_(shows_frames) {}

 protected:
  Result<std::size_t> do_read(IoSink& to, std::uint64_t& position) override {
    if (position % kEntryBytes != 0 || to.remaining() % kEntryBytes != 0) {
      return fail(Errno::kEINVAL);
    }
    const RefPtr<AddressSpace> space = process_->address_space();
    if (!space) return std::size_t{0};
    std::size_t done = 0;
    Throttle throttle;
    while (to.remaining() > 0 && position / kEntryBytes < kUserLimit / kPageSize) {
      std::uint64_t entries[kBatch] = {};
      const std::size_t count = std::min<std::uint64_t>(
          {kBatch, to.remaining() / kEntryBytes, kUserLimit / kPageSize - position / kEntryBytes});
      fill(*space, position / kEntryBytes * kPageSize, std::span(entries).first(count));
      const std::size_t size = count * kEntryBytes;
      const std::size_t moved = to.write(std::as_bytes(std::span(entries)).first(size));
      done += moved;
      position += moved;
      if (moved < size || throttle.should_stop()) break;
    }
    if (done == 0 && to.faulted()) return fail(Errno::kEFAULT);
    return done;
  }

 private:
  void fill(AddressSpace& space, std::uint64_t start, std::span<std::uint64_t> entries) const {
    const std::uint64_t end = start + entries.size() * kPageSize;
    // Under the lock of the space, which for_each_region() holds.
    bool looked = false;
    space.for_each_region([&](const Region&) {
      if (looked) return false;
      looked = true;
      ResidentPage page = next_resident_page(space, start, end);
      while (page.size_bytes != 0) {
        for (std::uint64_t offset = 0; offset < page.size_bytes; offset += kPageSize) {
          entries[(page.address + offset - start) / kPageSize] = encode(page, offset);
        }
        page = next_resident_page(space, page.address + page.size_bytes, end);
      }
      return false;
    });
  }

  std::uint64_t encode(const ResidentPage& page, std::uint64_t offset) const {
    std::uint64_t entry = kPresent;
    if (page.is_file_page) entry |= kFileOrShared;
    if (!page.is_shared && !page.is_zero) entry |= kExclusive;
    if (shows_frames_) {
      entry |= static_cast<std::uint64_t>((page.frame + offset).pfn()) & kFrameMask;
    }
    return entry;
  }

  const RefPtr<ProcessView> process_;
  const bool shows_frames_;  // opened by root
};

class Pagemap final : public ProcInode {
 public:
  Pagemap(Superblock& superblock, std::uint64_t number, RefPtr<ProcessView> process)
      : ProcInode(superblock, FileType::kRegular, number), process_(std::move(process)) {}
  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags,
                            const Credentials& who) override {
    TRY(check_inspection(*process_, who));
    auto file = RefPtr<File>::adopt(
        new (std::nothrow) PagemapFile(path, flags, process_, who.has(Capability::kSysAdmin)));
    if (!file) return fail(Errno::kENOMEM);
    return file;
  }

 private:
  const RefPtr<ProcessView> process_;
};

}  // namespace

Inode* make_pagemap(Superblock& superblock, RefPtr<ProcessView> process, std::uint64_t number) {
  return new (std::nothrow) Pagemap(superblock, number, std::move(process));
}

}  // namespace holstein
