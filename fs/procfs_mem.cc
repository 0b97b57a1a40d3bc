// /proc/<pid>/mem: the memory of a process as a file, an address being a position in it.
//
// Accesses are forced, as on Linux (vm/remote_access.cc): a debugger reads memory that is declared
// inaccessible and writes breakpoints into code. What they cannot do is change a file: a write into
// a private mapping goes to a copy.
#include <algorithm>
#include <new>

#include "fs/procfs_nodes.h"
#include "fs/throttle.h"
#include "uaccess/io_iterator.h"

namespace holstein {
namespace {

class MemoryFile final : public File {
 public:
  // `serial` of the space that was checked at open; 0: the process has none.
  MemoryFile(const Path& path, std::uint32_t flags, RefPtr<ProcessView> process,
             std::uint64_t serial, Vec<std::byte> page)
      : File(path, flags), process_(std::move(process)), serial_(serial), page_(std::move(page)) {}

 protected:
  Result<std::size_t> do_read(IoSink& to, std::uint64_t& position) override {
    MutexGuard guard(page_lock_);
    return for_each_piece(
        to.remaining(), position,
        [&](AddressSpace& space, VirtAddr at, std::span<std::byte> piece) -> Result<std::size_t> {
          const std::size_t read = space.read_memory(at, piece, RemoteRights::kForced);
          if (to.write(piece.first(read)) < read) return fail(Errno::kEFAULT);
          return read;
        });
  }

  Result<std::size_t> do_write(IoSource& from, std::uint64_t& position) override {
    MutexGuard guard(page_lock_);
    return for_each_piece(
        from.remaining(), position,
        [&](AddressSpace& space, VirtAddr at, std::span<std::byte> piece) -> Result<std::size_t> {
          if (from.read(piece) < piece.size()) return fail(Errno::kEFAULT);
          return space.write_memory(at, piece, RemoteRights::kForced);
        });
  }

  // Every address is a position, also those of the upper half, where reads end with EIO.
  Result<std::int64_t> do_seek(std::int64_t offset, Whence whence,
                               std::uint64_t position) override {
    switch (whence) {
      case Whence::kSet:
        return offset;
      case Whence::kCurrent:
        return static_cast<std::int64_t>(position + static_cast<std::uint64_t>(offset));
      default:
        return fail(Errno::kEINVAL);
    }
  }

 private:
  // Calls `move(space, address, piece)`, which says how many bytes it did, for one buffer after the
  // other. A process that has ended, or runs another program by now, has no memory here: 0 bytes.
  template <class Move>
  Result<std::size_t> for_each_piece(std::size_t size_bytes, std::uint64_t& position, Move move)
      REQUIRES(page_lock_) {
    const RefPtr<AddressSpace> space = process_->address_space();
    if (!space || space->serial() != serial_) return std::size_t{0};
    if (position > INT64_MAX && size_bytes >= 0 - position) return fail(Errno::kEOVERFLOW);
    std::size_t done = 0;
    Throttle throttle;
    while (done < size_bytes && !throttle.should_stop()) {
      const std::size_t wanted = std::min<std::size_t>(page_.size(), size_bytes - done);
      TRY_ASSIGN(const std::size_t moved,
                 move(*space, VirtAddr(position), page_.span().first(wanted)));
      if (moved == 0 && done == 0) return fail(Errno::kEIO);
      done += moved;
      position += moved;
      if (moved < wanted) break;
    }
    return done;
  }

  const RefPtr<ProcessView> process_;
  const std::uint64_t serial_;
  Mutex page_lock_{LockRank::kPipe};
  Vec<std::byte> page_ GUARDED_BY(page_lock_);
};

class MemoryNode final : public ProcInode {
 public:
  MemoryNode(Superblock& superblock, std::uint64_t number, RefPtr<ProcessView> process)
      : ProcInode(superblock, FileType::kRegular, number), process_(std::move(process)) {}

  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags,
                            const Credentials& who) override {
    TRY(check_inspection(*process_, who));
    const RefPtr<AddressSpace> space = process_->address_space();
    Vec<std::byte> page;
    TRY(page.resize(kPageSize));
    auto file = RefPtr<File>::adopt(new (std::nothrow) MemoryFile(
        path, flags, process_, space ? space->serial() : 0, std::move(page)));
    if (!file) return fail(Errno::kENOMEM);
    return file;
  }
  Result<void> resize(std::uint64_t) override { return {}; }  // `> file` truncates first

 private:
  const RefPtr<ProcessView> process_;
};

}  // namespace

Inode* make_memory_node(Superblock& superblock, RefPtr<ProcessView> process, std::uint64_t number) {
  return new (std::nothrow) MemoryNode(superblock, number, std::move(process));
}

}  // namespace holstein
