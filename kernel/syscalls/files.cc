// Reading, writing and descriptors' offsets.
#include <algorithm>

#include "fs/pipe.h"
#include "kernel/syscalls/handlers.h"
#include "uaccess/io_iterator.h"
#include "uaccess/iovec.h"

namespace holstein {
namespace {

// Ends a write: a pipe without readers raises SIGPIPE (write(2)).
SystemCallResult finish_write(const Result<std::size_t>& written) {
  if (!written && written.error() == Errno::kEPIPE) {
    send_sigpipe();
  }
  return number(written);
}

// The segments of a readv or writev; they live as long as this.
template <Direction D>
class Segments {
 public:
  Result<void> import(UserSpan<Iovec, Direction::kIn> list) {
    if (list.size() > kMaxSegments) {
      return fail(Errno::kEINVAL);
    }
    TRY(segments_.resize(list.size()));
    TRY(import_iovec<D>(list, segments_.span()));
    return {};
  }
  std::span<const UserSpan<std::byte, D>> span() { return segments_.span(); }

 private:
  ArgumentArray<UserSpan<std::byte, D>> segments_;
};

template <Direction D>
UserSpan<std::byte, D> limited(UserSpan<std::byte, D> buffer) {
  return buffer.first(std::min(buffer.size(), kMaxTransferBytes));
}

SystemCallResult read_segments(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list,
                               std::optional<std::int64_t> offset) {
  TRY_ASSIGN(const RefPtr<File> file, file_of(descriptor));
  if (!file->is_readable()) {
    return fail(Errno::kEBADF);
  }
  Segments<Direction::kOut> segments;
  TRY(segments.import(list));
  IoSink sink = IoSink::to_user(segments.span());
  return number(offset ? file->read_at(sink, *offset) : file->read(sink));
}

SystemCallResult write_segments(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list,
                                std::optional<std::int64_t> offset) {
  TRY_ASSIGN(const RefPtr<File> file, file_of(descriptor));
  if (!file->is_writable()) {
    return fail(Errno::kEBADF);
  }
  Segments<Direction::kIn> segments;
  TRY(segments.import(list));
  IoSource source = IoSource::from_user(segments.span());
  return finish_write(offset ? file->write_at(source, *offset) : file->write(source));
}

}  // namespace

SystemCallResult sys_read(FileDescriptor descriptor, UserBytesOut buffer) {
  TRY_ASSIGN(const RefPtr<File> file, file_of(descriptor));
  if (!file->is_readable()) {
    return fail(Errno::kEBADF);
  }
  if (!buffer.in_range()) {
    return fail(Errno::kEFAULT);
  }
  IoSink sink = IoSink::to_user(limited(buffer));
  return number(file->read(sink));
}

SystemCallResult sys_write(FileDescriptor descriptor, UserBytesIn buffer) {
  TRY_ASSIGN(const RefPtr<File> file, file_of(descriptor));
  if (!file->is_writable()) {
    return fail(Errno::kEBADF);
  }
  if (!buffer.in_range()) {
    return fail(Errno::kEFAULT);
  }
  IoSource source = IoSource::from_user(limited(buffer));
  return finish_write(file->write(source));
}

SystemCallResult sys_pread64(FileDescriptor descriptor, UserBytesOut buffer, std::int64_t offset) {
  if (offset < 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const RefPtr<File> file, file_of(descriptor));
  if (!file->is_seekable()) {
    return fail(Errno::kESPIPE);
  }
  if (!file->is_readable()) {
    return fail(Errno::kEBADF);
  }
  if (!buffer.in_range()) {
    return fail(Errno::kEFAULT);
  }
  IoSink sink = IoSink::to_user(limited(buffer));
  return number(file->read_at(sink, offset));
}

SystemCallResult sys_pwrite64(FileDescriptor descriptor, UserBytesIn buffer, std::int64_t offset) {
  if (offset < 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const RefPtr<File> file, file_of(descriptor));
  if (!file->is_seekable()) {
    return fail(Errno::kESPIPE);
  }
  if (!file->is_writable()) {
    return fail(Errno::kEBADF);
  }
  if (!buffer.in_range()) {
    return fail(Errno::kEFAULT);
  }
  IoSource source = IoSource::from_user(limited(buffer));
  return finish_write(file->write_at(source, offset));
}

SystemCallResult sys_readv(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list) {
  return read_segments(descriptor, list, std::nullopt);
}

SystemCallResult sys_writev(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list) {
  return write_segments(descriptor, list, std::nullopt);
}

SystemCallResult sys_preadv(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list,
                            std::int64_t offset) {
  if (offset < 0) {
    return fail(Errno::kEINVAL);
  }
  return read_segments(descriptor, list, offset);
}

SystemCallResult sys_pwritev(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list,
                             std::int64_t offset) {
  if (offset < 0) {
    return fail(Errno::kEINVAL);
  }
  return write_segments(descriptor, list, offset);
}

// The flags RWF_* ask for what no file here has; 0 is what the C library passes.
SystemCallResult sys_preadv2(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list,
                             std::int64_t offset, std::uint64_t, FlagsArgument flags) {
  if (flags.bits != 0) {
    return fail(Errno::kEOPNOTSUPP);
  }
  return offset == -1 ? sys_readv(descriptor, list) : sys_preadv(descriptor, list, offset);
}

SystemCallResult sys_pwritev2(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list,
                              std::int64_t offset, std::uint64_t, FlagsArgument flags) {
  if (flags.bits != 0) {
    return fail(Errno::kEOPNOTSUPP);
  }
  return offset == -1 ? sys_writev(descriptor, list) : sys_pwritev(descriptor, list, offset);
}

SystemCallResult sys_lseek(FileDescriptor descriptor, std::int64_t offset, std::uint32_t whence) {
  TRY_ASSIGN(const RefPtr<File> file, usable_file_of(descriptor));
  if (whence > static_cast<std::uint32_t>(Whence::kHole)) {
    return fail(Errno::kEINVAL);
  }
  return number(file->seek(offset, static_cast<Whence>(whence)));
}

SystemCallResult sys_ftruncate(FileDescriptor descriptor, std::int64_t size_bytes) {
  if (size_bytes < 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const RefPtr<File> file, usable_file_of(descriptor));
  return done(file->truncate(size_bytes));
}

SystemCallResult sys_fallocate(FileDescriptor descriptor, FlagsArgument mode, std::int64_t offset,
                               std::int64_t length) {
  if (offset < 0 || length <= 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const RefPtr<File> file, usable_file_of(descriptor));
  if (!file->is_writable()) {
    return fail(Errno::kEBADF);
  }
  return done(file->allocate(mode.bits, offset, length));
}

SystemCallResult sys_fsync(FileDescriptor descriptor) {
  TRY_ASSIGN(const RefPtr<File> file, usable_file_of(descriptor));
  return done(file->sync());
}

// Nothing is ever written back: there is nothing to wait for.
SystemCallResult sys_sync() { return 0; }

SystemCallResult sys_syncfs(FileDescriptor descriptor) {
  TRY(usable_file_of(descriptor));
  return 0;
}

SystemCallResult sys_fadvise64(FileDescriptor descriptor, std::int64_t, std::int64_t length,
                               int advice) {
  TRY_ASSIGN(const RefPtr<File> file, usable_file_of(descriptor));
  if (!file->is_seekable()) {
    return fail(Errno::kESPIPE);
  }
  if (length < 0 || advice < 0 || advice > 5) {
    return fail(Errno::kEINVAL);
  }
  return 0;
}

SystemCallResult sys_readahead(FileDescriptor descriptor, std::int64_t, std::uint64_t) {
  TRY_ASSIGN(const RefPtr<File> file, usable_file_of(descriptor));
  if (!file->is_readable()) {
    return fail(Errno::kEBADF);
  }
  if (!file->inode().is_regular()) {
    return fail(Errno::kEINVAL);
  }
  return 0;
}

namespace {

// Moves up to `count` bytes from one file to another through a buffer of the kernel's own.
// `from_offset` and `to_offset`: null means the file's own position.
SystemCallResult copy_between(File& from, std::int64_t* from_offset, File& to,
                              std::int64_t* to_offset, std::uint64_t count) {
  constexpr std::size_t kChunkBytes = 16 * 1024;
  Vec<std::byte> buffer;
  TRY(buffer.resize(kChunkBytes));
  std::int64_t total = 0;
  while (count > 0) {
    const std::size_t wanted = std::min<std::uint64_t>(count, kChunkBytes);
    IoSink sink = IoSink::to_kernel(buffer.span().first(wanted));
    // The position moves only by what was written, so it is read at a place and set afterwards.
    const std::int64_t place = from_offset != nullptr ? *from_offset : from.position();
    const bool is_stream = !from.is_seekable();
    const Result<std::size_t> got = is_stream ? from.read(sink) : from.read_at(sink, place);
    if (!got) {
      return total != 0 ? SystemCallResult(total) : fail(got.error());
    }
    if (*got == 0) {
      break;
    }
    IoSource source = IoSource::from_kernel(std::span<const std::byte>(buffer.span()).first(*got));
    const Result<std::size_t> written =
        to_offset != nullptr ? to.write_at(source, *to_offset) : to.write(source);
    if (!written) {
      return total != 0 ? SystemCallResult(total) : finish_write(written);
    }
    const auto moved = static_cast<std::int64_t>(*written);
    total += moved;
    count -= *written;
    if (from_offset != nullptr) {
      *from_offset += moved;
    } else if (!is_stream) {
      TRY(from.seek(place + moved, Whence::kSet));
    }
    if (to_offset != nullptr) {
      *to_offset += moved;
    }
    if (*written < *got || signal_pending()) {
      break;
    }
    port::reschedule_if_needed();
  }
  return total;
}

}  // namespace

SystemCallResult sys_sendfile(FileDescriptor to_descriptor, FileDescriptor from_descriptor,
                              UserInOut<std::int64_t> offset, std::uint64_t count) {
  std::int64_t place = 0;
  if (!offset.is_null()) {
    TRY_ASSIGN(place, offset.get());
  }
  TRY_ASSIGN(const RefPtr<File> from, file_of(from_descriptor));
  TRY_ASSIGN(const RefPtr<File> to, file_of(to_descriptor));
  if (!from->is_readable() || !to->is_writable()) {
    return fail(Errno::kEBADF);
  }
  if (!offset.is_null() && !from->is_seekable()) {
    return fail(Errno::kESPIPE);
  }
  if (!from->is_seekable() || place < 0 || (to->flags() & kOpenAppend) != 0) {
    return fail(Errno::kEINVAL);
  }
  const SystemCallResult moved =
      copy_between(*from, offset.is_null() ? nullptr : &place, *to, nullptr,
                   std::min<std::uint64_t>(count, kMaxTransferBytes));
  if (moved && !offset.is_null()) {
    TRY(offset.put(place));
  }
  return moved;
}

SystemCallResult sys_copy_file_range(FileDescriptor from_descriptor,
                                     UserInOut<std::int64_t> from_offset,
                                     FileDescriptor to_descriptor,
                                     UserInOut<std::int64_t> to_offset, std::uint64_t count,
                                     FlagsArgument flags) {
  TRY_ASSIGN(const RefPtr<File> from, file_of(from_descriptor));
  TRY_ASSIGN(const RefPtr<File> to, file_of(to_descriptor));
  std::int64_t from_place = 0;
  std::int64_t to_place = 0;
  if (!from_offset.is_null()) {
    TRY_ASSIGN(from_place, from_offset.get());
  }
  if (!to_offset.is_null()) {
    TRY_ASSIGN(to_place, to_offset.get());
  }
  if (flags.bits != 0) {
    return fail(Errno::kEINVAL);
  }
  if (from->inode().is_directory() || to->inode().is_directory()) {
    return fail(Errno::kEISDIR);
  }
  if (!from->inode().is_regular() || !to->inode().is_regular()) {
    return fail(Errno::kEINVAL);
  }
  if (!from->is_readable() || !to->is_writable() || (to->flags() & kOpenAppend) != 0) {
    return fail(Errno::kEBADF);
  }
  const std::uint64_t limited_count = std::min<std::uint64_t>(count, kMaxTransferBytes);
  if (from_place < 0 || to_place < 0) {
    return fail(Errno::kEINVAL);
  }
  if (&from->inode() == &to->inode()) {
    const std::int64_t a = from_offset.is_null() ? from->position() : from_place;
    const std::int64_t b = to_offset.is_null() ? to->position() : to_place;
    const auto bytes = static_cast<std::int64_t>(limited_count);
    if (a < b + bytes && b < a + bytes) {
      return fail(Errno::kEINVAL);
    }
  }
  const SystemCallResult moved =
      copy_between(*from, from_offset.is_null() ? nullptr : &from_place, *to,
                   to_offset.is_null() ? nullptr : &to_place, limited_count);
  if (moved && !from_offset.is_null()) {
    TRY(from_offset.put(from_place));
  }
  if (moved && !to_offset.is_null()) {
    TRY(to_offset.put(to_place));
  }
  return moved;
}

}  // namespace holstein
