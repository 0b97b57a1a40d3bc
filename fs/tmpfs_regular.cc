// Regular files of tmpfs: read and write go straight between the page cache's frames and the
// caller's memory.
#include <algorithm>
#include <cstring>
#include <new>

#include "fs/file.h"
#include "fs/path.h"
#include "fs/port.h"
#include "fs/throttle.h"
#include "fs/tmpfs_inodes.h"
#include "uaccess/io_iterator.h"
#include "vm/frame.h"

namespace holstein {
namespace {

constexpr int kSigXfsz = 25;
constexpr std::uint64_t kOffsetMask = kPageSize - 1;

// A page of a cache with a reference, for the time of a copy.
class HeldPage {
 public:
  explicit HeldPage(PhysAddr frame) : frame_(frame) {}
  ~HeldPage() {
    if (!is_hole()) frame_release(frame_of(frame_));
  }
  HeldPage(const HeldPage&) = delete;
  HeldPage& operator=(const HeldPage&) = delete;

  bool is_hole() const { return frame_ == zero_frame; }
  std::span<std::byte> bytes(std::uint64_t offset, std::size_t size) const {
    return {phys_to_virt<std::byte>(frame_) + offset, size};
  }

 private:
  PhysAddr frame_;
};

// EFBIG, with SIGXFSZ, where a file of `size_bytes` would pass the caller's limit.
Result<void> check_size_limit(std::uint64_t size_bytes) {
  if (size_bytes <= port::caller_file_size_limit()) return {};
  port::signal_caller(kSigXfsz);
  return fail(Errno::kEFBIG);
}

class MappedRegular final : public MappedFile {
 public:
  explicit MappedRegular(RefPtr<File> file) : file_(std::move(file)) {}
  PageCache& cache() override { return *file_->inode().page_cache(); }
  std::string_view path(std::span<char> buffer) const override {
    String text;
    const Path root{mount_table().root(), nullptr};
    if (root.mount) {
      const Path top{root.mount, root.mount->root()};
      if (!append_path(file_->path(), top, text).has_value()) return {};
    } else if (!file_->path().dentry->append_name(text).has_value()) {
      return {};
    }
    const std::size_t length = text.view().copy(buffer.data(), buffer.size());
    return {buffer.data(), length};
  }
  std::uint64_t inode_number() const override { return file_->inode().number(); }
  std::uint64_t device_number() const override { return file_->inode().superblock().device(); }

 private:
  const RefPtr<File> file_;  // keeps write access while a mapping may write
};

class RegularFile final : public File {
 public:
  RegularFile(const Path& path, std::uint32_t flags, bool keeps_set_id)
      : File(path, flags), keeps_set_id_(keeps_set_id) {}

  Result<FileMapping> map() override {
    auto mapped = RefPtr<MappedFile>::adopt(new (std::nothrow) MappedRegular(RefPtr<File>(this)));
    if (!mapped) return fail(Errno::kENOMEM);
    inode().touch_accessed();
    return FileMapping{RefPtr<PageCache>(inode().page_cache()), std::move(mapped)};
  }

 protected:
  Result<std::size_t> do_read(IoSink& to, std::uint64_t& position) override;
  Result<std::size_t> do_write(IoSource& from, std::uint64_t& position) override;
  Result<std::int64_t> do_seek(std::int64_t offset, Whence whence, std::uint64_t position) override;
  Result<void> do_allocate(std::uint32_t mode, std::uint64_t offset, std::uint64_t length) override;

 private:
  TmpfsRegular& node() const { return static_cast<TmpfsRegular&>(inode()); }
  Result<std::size_t> write_chunk(TmpfsRegular& node, IoSource& from, std::uint64_t position,
                                  std::size_t size) REQUIRES(node.lock);
  Result<std::size_t> append_page(IoSource& from, std::uint64_t position, std::size_t size);
  Result<std::size_t> extend_page(IoSource& from, std::uint64_t position, std::size_t size);

  const bool keeps_set_id_;  // opened with CAP_FSETID
};

Result<std::size_t> RegularFile::do_read(IoSink& to, std::uint64_t& position) {
  PageCache& cache = *inode().page_cache();
  std::size_t done = 0;
  Throttle throttle;
  while (to.remaining() > 0) {
    const std::uint64_t end = cache.size_bytes();
    if (position >= end) break;
    const std::uint64_t offset = position & kOffsetMask;
    const std::size_t size =
        std::min<std::uint64_t>({to.remaining(), kPageSize - offset, end - position});
    const Result<PhysAddr> frame =
        cache.get_page(position >> kPageShift, PageCache::Missing::kZeroFrame);
    if (!frame.has_value()) {
      if (frame.error() == Errno::kENXIO) break;  // cut short meanwhile
      if (done == 0) return fail(frame.error());
      break;
    }
    const HeldPage page(*frame);
    const std::size_t moved =
        page.is_hole() ? to.fill_zero(size) : to.write(page.bytes(offset, size));
    done += moved;
    position += moved;
    if (moved < size || throttle.should_stop()) break;
  }
  if (done == 0 && to.faulted()) return fail(Errno::kEFAULT);
  if ((flags() & kOpenNoAccessTime) == 0) inode().touch_accessed();
  return done;
}

// A page behind the end of the file: filled before anybody can see it, then made part of the file,
// which grows last and cannot fail to.
Result<std::size_t> RegularFile::append_page(IoSource& from, std::uint64_t position,
                                             std::size_t size) {
  PageCache& cache = *inode().page_cache();
  const std::uint64_t offset = position & kOffsetMask;
  const PhysAddr frame = frame_alloc_kind(FrameKind::kPageCache);
  if (frame.is_null()) return fail(Errno::kENOSPC);
  auto* bytes = phys_to_virt<std::byte>(frame);
  std::memset(bytes, 0, offset);
  const std::size_t moved = from.read({bytes + offset, size});
  std::memset(bytes + offset + moved, 0, kPageSize - offset - moved);
  if (moved == 0) {
    frame_free(frame);
    return std::size_t{0};
  }
  const Result<void> adopted = cache.adopt_page(position >> kPageShift, frame);
  if (adopted.has_value()) {
    TRY(cache.resize(position + moved));
    return moved;
  }
  Result<std::size_t> written = fail(Errno::kENOSPC);
  if (adopted.error() == Errno::kEEXIST) {
    written = cache.write_at(position, {bytes + offset, moved});
  }
  frame_free(frame);
  return written;
}

// Into the last page and past the end of the file: by way of a buffer, as the file may grow only
// by what was readable.
Result<std::size_t> RegularFile::extend_page(IoSource& from, std::uint64_t position,
                                             std::size_t size) {
  const PhysAddr buffer = frame_alloc();
  if (buffer.is_null()) return fail(Errno::kENOSPC);
  const std::span<std::byte> bytes(phys_to_virt<std::byte>(buffer), size);
  const std::size_t moved = from.read(bytes);
  Result<std::size_t> written = std::size_t{0};
  if (moved != 0) written = inode().page_cache()->write_at(position, bytes.first(moved));
  frame_free(buffer);
  return written;
}

// At most the rest of one page.
Result<std::size_t> RegularFile::write_chunk(TmpfsRegular& node, IoSource& from,
                                             std::uint64_t position, std::size_t size) {
  PageCache& cache = *node.page_cache();
  const std::uint64_t index = position >> kPageShift;
  const std::uint64_t end = cache.size_bytes();
  const std::uint64_t pages = (end + kPageSize - 1) >> kPageShift;
  if (index >= pages) return append_page(from, position, size);
  if (position + size > end) return extend_page(from, position, size);
  const Result<PhysAddr> frame = cache.get_page(index, PageCache::Missing::kCreate);
  if (!frame.has_value()) {
    return fail(frame.error() == Errno::kENOMEM ? Errno::kENOSPC : frame.error());
  }
  const HeldPage page(*frame);
  return from.read_over(page.bytes(position & kOffsetMask, size));
}

Result<std::size_t> RegularFile::do_write(IoSource& from, std::uint64_t& position) {
  if (from.remaining() == 0) return std::size_t{0};
  TmpfsRegular& target = node();
  MutexGuard guard(target.lock);
  PageCache& cache = *target.page_cache();
  if ((flags() & kOpenAppend) != 0) position = cache.size_bytes();
  const std::uint64_t limit = std::min(kMaxFileBytes, port::caller_file_size_limit());
  if (position >= limit) {
    if (position < kMaxFileBytes) port::signal_caller(kSigXfsz);
    return fail(Errno::kEFBIG);
  }
  // The first error ends it; bytes that were written before are a success.
  std::size_t done = 0;
  Errno error{};
  Throttle throttle;
  while (from.remaining() > 0 && position < limit) {
    const std::size_t size = std::min<std::uint64_t>(
        {from.remaining(), kPageSize - (position & kOffsetMask), limit - position});
    const Result<std::size_t> moved = write_chunk(target, from, position, size);
    if (!moved.has_value()) {
      error = moved.error();
      break;
    }
    done += *moved;
    position += *moved;
    if (*moved < size || throttle.should_stop()) break;
  }
  if (done == 0) {
    if (error != Errno{}) return fail(error);
    return fail(from.faulted() ? Errno::kEFAULT : Errno::kEINTR);
  }
  target.touch_modified();
  if (!keeps_set_id_) target.drop_set_id({});
  return done;
}

Result<std::int64_t> RegularFile::do_seek(std::int64_t offset, Whence whence,
                                          std::uint64_t position) {
  if (whence != Whence::kData && whence != Whence::kHole) {
    return File::do_seek(offset, whence, position);
  }
  PageCache& cache = *inode().page_cache();
  const std::uint64_t end = cache.size_bytes();
  if (offset < 0 || static_cast<std::uint64_t>(offset) >= end) return fail(Errno::kENXIO);
  const bool wants_data = whence == Whence::kData;
  auto at = static_cast<std::uint64_t>(offset);
  Throttle throttle;
  while (at < end) {
    if (cache.has_page(at >> kPageShift) == wants_data) return static_cast<std::int64_t>(at);
    at = align_down(at, kPageSize) + kPageSize;
    if (throttle.should_stop()) return fail(Errno::kEINTR);
  }
  if (wants_data) return fail(Errno::kENXIO);
  return static_cast<std::int64_t>(end);
}

Result<void> RegularFile::do_allocate(std::uint32_t mode, std::uint64_t offset,
                                      std::uint64_t length) {
  TmpfsRegular& target = node();
  MutexGuard guard(target.lock);
  PageCache& cache = *target.page_cache();
  const std::uint64_t before = cache.size_bytes();
  const std::uint64_t end = offset + length;
  if (end > kMaxFileBytes) return fail(Errno::kEFBIG);
  if ((mode & (kFallocPunchHole | kFallocZeroRange)) != 0 && offset < before) {
    TRY(cache.punch_hole(offset, std::min(end, before) - offset));
    target.touch_modified();
  }
  if ((mode & kFallocPunchHole) != 0) return {};
  if ((mode & kFallocKeepSize) == 0 && end > before) {
    TRY(check_size_limit(end));
    TRY(cache.resize(end));
    target.touch_changed();
  }
  // Pages beyond the size cannot be held here: what fits is made, so that writes find them.
  const std::uint64_t last = std::min(end, cache.size_bytes());
  Throttle throttle;
  for (std::uint64_t at = align_down(offset, kPageSize); at < last; at += kPageSize) {
    const Result<PhysAddr> frame = cache.get_page(at >> kPageShift, PageCache::Missing::kCreate);
    const bool stop = throttle.should_stop();
    if (!frame.has_value() || stop) {
      if (frame.has_value()) frame_release(frame_of(*frame));
      // Shrinking needs memory where pages are mapped: a longer file of zeros may remain.
      (void)cache.resize(before);
      return fail(stop ? Errno::kEINTR : Errno::kENOSPC);
    }
    frame_release(frame_of(*frame));
  }
  return {};
}

}  // namespace

TmpfsRegular::TmpfsRegular(TmpfsSuperblock& superblock, RefPtr<PageCache> cache)
    : Inode(superblock, FileType::kRegular, superblock.next_inode_number()),
      cache_(std::move(cache)) {}

TmpfsRegular::~TmpfsRegular() { tmpfs().remove_inode(); }

TmpfsSuperblock& TmpfsRegular::tmpfs() const { return static_cast<TmpfsSuperblock&>(superblock()); }

Attributes TmpfsRegular::attributes() const {
  Attributes result = Inode::attributes();
  result.size_bytes = cache_->size_bytes();
  result.blocks = cache_->page_count() * (kPageSize / 512);
  return result;
}

Result<RefPtr<File>> TmpfsRegular::open(const Path& path, std::uint32_t flags,
                                        const Credentials& who) {
  auto file = RefPtr<File>::adopt(new (std::nothrow)
                                      RegularFile(path, flags, who.has(Capability::kFsetid)));
  if (!file) return fail(Errno::kENOMEM);
  return file;
}

Result<void> TmpfsRegular::resize(std::uint64_t size_bytes) {
  MutexGuard guard(lock);
  const std::uint64_t before = cache_->size_bytes();
  if (size_bytes > kMaxFileBytes) return fail(Errno::kEFBIG);
  if (size_bytes > before) TRY(check_size_limit(size_bytes));
  TRY(cache_->resize(size_bytes));
  touch_modified();
  return {};
}

}  // namespace holstein
