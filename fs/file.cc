#include "fs/file.h"

#include <limits>
#include <new>

#include "fs/locks.h"
#include "fs/mount.h"
#include "fs/poll.h"
#include "fs/termios.h"
#include "uaccess/io_iterator.h"

namespace holstein {
namespace {

// What F_GETFL never shows: flags that only open(2) itself looks at.
constexpr std::uint32_t kOpenOnly =
    kOpenCreate | kOpenExclusive | kOpenNoTerminal | kOpenTruncate | kOpenCloseOnExec;

constexpr std::int64_t kMaxOffset = std::numeric_limits<std::int64_t>::max();

class PathOnlyFile final : public File {
 public:
  using File::File;
  std::uint32_t poll(std::uint32_t, PollTable*) override { return kPollInvalid; }
  Result<std::int64_t> ioctl(std::uint32_t, std::uint64_t) override { return fail(Errno::kEBADF); }
  Result<void> sync() override { return fail(Errno::kEBADF); }
};

}  // namespace

File::File(const Path& path, std::uint32_t flags) : path_(path), flags_(flags & ~kOpenOnly) {}

File::~File() {
  if (is_path_only()) return;
  if (FileLocks* locks = inode().locks_if_any(); locks != nullptr) {
    locks->release_owner(this);
    locks->release_flock(this);
  }
  if (is_writable() && inode().is_regular()) inode().put_write_access();
}

void File::set_flags(std::uint32_t flags) {
  std::uint32_t before = flags_.load(std::memory_order_relaxed);
  while (!flags_.compare_exchange_weak(before,
                                       (before & ~kOpenChangeable) | (flags & kOpenChangeable))) {
  }
}

bool File::is_readable() const {
  const std::uint32_t mode = flags() & kOpenAccessMode;
  return !is_path_only() && (mode == kOpenReadOnly || mode == kOpenReadWrite);
}
bool File::is_writable() const {
  const std::uint32_t mode = flags() & kOpenAccessMode;
  return !is_path_only() && (mode == kOpenWriteOnly || mode == kOpenReadWrite);
}

Result<std::size_t> File::read(IoSink& to) {
  if (!is_readable()) return fail(Errno::kEBADF);
  if (inode().is_directory()) return fail(Errno::kEISDIR);
  if (!is_seekable()) {
    std::uint64_t ignored = 0;
    return do_read(to, ignored);
  }
  MutexGuard guard(position_lock_);
  return do_read(to, position_);
}

Result<std::size_t> File::write(IoSource& from) {
  if (!is_writable()) return fail(Errno::kEBADF);
  if (!is_seekable()) {
    std::uint64_t ignored = 0;
    return do_write(from, ignored);
  }
  MutexGuard guard(position_lock_);
  return do_write(from, position_);
}

Result<std::size_t> File::read_at(IoSink& to, std::int64_t offset) {
  if (offset < 0) return fail(Errno::kEINVAL);
  if (!is_readable()) return fail(Errno::kEBADF);
  if (inode().is_directory()) return fail(Errno::kEISDIR);
  if (!is_seekable()) return fail(Errno::kESPIPE);
  auto position = static_cast<std::uint64_t>(offset);
  return do_read(to, position);
}

Result<std::size_t> File::write_at(IoSource& from, std::int64_t offset) {
  if (offset < 0) return fail(Errno::kEINVAL);
  if (!is_writable()) return fail(Errno::kEBADF);
  if (!is_seekable()) return fail(Errno::kESPIPE);
  auto position = static_cast<std::uint64_t>(offset);
  return do_write(from, position);
}

Result<std::int64_t> File::seek(std::int64_t offset, Whence whence) {
  if (is_path_only()) return fail(Errno::kEBADF);
  if (!is_seekable()) return fail(Errno::kESPIPE);
  MutexGuard guard(position_lock_);
  TRY_ASSIGN(const std::int64_t position, do_seek(offset, whence, position_));
  position_ = static_cast<std::uint64_t>(position);
  return position;
}

std::int64_t File::position() {
  MutexGuard guard(position_lock_);
  return static_cast<std::int64_t>(position_);
}

Result<std::int64_t> File::do_seek(std::int64_t offset, Whence whence, std::uint64_t position) {
  std::int64_t base = 0;
  switch (whence) {
    case Whence::kSet:
      break;
    case Whence::kCurrent:
      base = static_cast<std::int64_t>(position);
      break;
    case Whence::kEnd:
      base = static_cast<std::int64_t>(inode().attributes().size_bytes);
      break;
    default:
      return fail(Errno::kEINVAL);
  }
  std::int64_t result = 0;
  if (__builtin_add_overflow(base, offset, &result)) {
    return fail(offset > 0 ? Errno::kEOVERFLOW : Errno::kEINVAL);
  }
  if (result < 0) return fail(Errno::kEINVAL);
  return result;
}

Result<std::size_t> File::do_read(IoSink&, std::uint64_t&) { return fail(Errno::kEINVAL); }
Result<std::size_t> File::do_write(IoSource&, std::uint64_t&) { return fail(Errno::kEINVAL); }

std::uint32_t File::poll(std::uint32_t events, PollTable*) {
  return events & (kPollIn | kPollOut | kPollReadNormal | kPollWriteNormal);
}

Result<std::int64_t> File::ioctl(std::uint32_t, std::uint64_t) { return fail(Errno::kENOTTY); }
Result<FileMapping> File::map() { return fail(Errno::kENODEV); }
Result<void> File::sync() {
  if (is_path_only()) return fail(Errno::kEBADF);
  const FileType type = inode().type();
  if (type != FileType::kRegular && type != FileType::kDirectory) return fail(Errno::kEINVAL);
  return {};
}

Result<void> File::truncate(std::int64_t size_bytes) {
  if (size_bytes < 0) return fail(Errno::kEINVAL);
  if (is_path_only()) return fail(Errno::kEBADF);
  if (!is_writable() || !inode().is_regular()) return fail(Errno::kEINVAL);
  return inode().resize(static_cast<std::uint64_t>(size_bytes));
}

Result<void> File::allocate(std::uint32_t mode, std::int64_t offset, std::int64_t length) {
  if (offset < 0 || length <= 0) return fail(Errno::kEINVAL);
  if ((mode & ~(kFallocKeepSize | kFallocPunchHole | kFallocZeroRange)) != 0) {
    return fail(Errno::kEOPNOTSUPP);
  }
  if ((mode & kFallocPunchHole) != 0 &&
      ((mode & kFallocZeroRange) != 0 || (mode & kFallocKeepSize) == 0)) {
    return fail(Errno::kEOPNOTSUPP);
  }
  if (!is_writable()) return fail(Errno::kEBADF);
  if (inode().type() == FileType::kFifo) return fail(Errno::kESPIPE);
  if (inode().is_directory()) return fail(Errno::kEISDIR);
  if (!inode().is_regular()) return fail(Errno::kENODEV);
  if (length > kMaxOffset - offset) return fail(Errno::kEFBIG);
  return do_allocate(mode, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length));
}
Result<void> File::do_allocate(std::uint32_t, std::uint64_t, std::uint64_t) {
  return fail(Errno::kEOPNOTSUPP);
}

void File::closed_by(const void* owner) {
  if (is_path_only()) return;
  if (FileLocks* locks = inode().locks_if_any(); locks != nullptr) locks->release_owner(owner);
}

Result<RefPtr<File>> open_path_only(const Path& path, std::uint32_t flags) {
  constexpr std::uint32_t kKept = kOpenPath | kOpenDirectory | kOpenNoFollow;
  auto file = RefPtr<File>::adopt(new (std::nothrow) PathOnlyFile(path, flags & kKept));
  if (!file) return fail(Errno::kENOMEM);
  return file;
}

WriteDenial::~WriteDenial() {
  if (inode_) inode_->allow_write_access();
}
Result<WriteDenial> WriteDenial::acquire(Inode& inode) {
  TRY(inode.deny_write_access());
  WriteDenial denial;
  denial.inode_ = RefPtr<Inode>(&inode);
  return denial;
}
WriteDenial WriteDenial::share() const {
  WriteDenial denial;
  if (inode_) {
    // This holder keeps writers away, so that a second denial cannot be refused.
    const Result<void> denied = inode_->deny_write_access();
    HOLSTEIN_ASSERT(denied.has_value());
    denial.inode_ = inode_;
  }
  return denial;
}

}  // namespace holstein
