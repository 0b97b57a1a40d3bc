#include "kernel/syscalls/common.h"

#include <algorithm>
#include <cstring>

namespace holstein {

// A string that is too long for short_ is read on from where that ended: no byte is read twice.
Result<void> FetchedString::fetch(const UserString& from, std::size_t max_bytes) {
  const std::size_t first_bytes = std::min(max_bytes, kShortBytes);
  const RawString first = from.copy_in_part({short_, first_bytes}, 0);
  switch (first.end) {
    case StringEnd::kTerminated:
      length_ = first.length;
      return {};
    case StringEnd::kFault:
      return fail(Errno::kEFAULT);
    case StringEnd::kUnterminated:
      break;
  }
  if (first_bytes == max_bytes) return fail(Errno::kENAMETOOLONG);
  TRY(long_.resize_for_overwrite(max_bytes));
  std::memcpy(long_.data(), short_, first_bytes);
  const RawString rest = from.copy_in_part(long_.span().subspan(first_bytes), first_bytes);
  if (rest.end == StringEnd::kFault) return fail(Errno::kEFAULT);
  if (rest.end == StringEnd::kUnterminated) return fail(Errno::kENAMETOOLONG);
  length_ = first_bytes + rest.length;
  return {};
}

Result<PathBase> PathBase::of(DirectoryDescriptor directory, std::string_view path) {
  PathBase base;
  if (directory.number == kAtCurrentDirectory || path.starts_with('/')) {
    return base;
  }
  TRY_ASSIGN(const RefPtr<File> file, file_of({.number = directory.number}));
  base.path_ = file->path();
  base.has_path_ = true;
  return base;
}

Result<RefPtr<File>> usable_file_of(FileDescriptor descriptor) {
  TRY_ASSIGN(RefPtr<File> file, file_of(descriptor));
  if (file->is_path_only()) {
    return fail(Errno::kEBADF);
  }
  return file;
}

Result<Path> resolve_from(DirectoryDescriptor directory, std::string_view path,
                          std::uint32_t flags) {
  TRY_ASSIGN(const PathBase base, PathBase::of(directory, path));
  return resolve(current_path_context(), base.get(), path, flags);
}

Result<Path> resolve_at(DirectoryDescriptor directory, const UserPath& path,
                        std::uint32_t at_flags) {
  FetchedString text;
  TRY(text.fetch(path));
  return resolve_from(directory, text.view(),
                      ((at_flags & kAtSymlinkNoFollow) != 0 ? 0 : kResolveFollow) |
                          ((at_flags & kAtEmptyPath) != 0 ? kResolveEmpty : 0));
}

Result<std::uint64_t> to_duration_ns(const Timespec& time) {
  if (time.seconds < 0 || time.nanoseconds < 0 ||
      time.nanoseconds >= static_cast<std::int64_t>(kNsPerSecond)) {
    return fail(Errno::kEINVAL);
  }
  const auto seconds = static_cast<std::uint64_t>(time.seconds);
  if (seconds >= INT64_MAX / kNsPerSecond) {
    return static_cast<std::uint64_t>(INT64_MAX);
  }
  return seconds * kNsPerSecond + static_cast<std::uint64_t>(time.nanoseconds);
}

Result<std::uint64_t> fetch_duration_ns(const UserIn<Timespec>& from) {
  TRY_ASSIGN(const Timespec time, from.get());
  return to_duration_ns(time);
}

std::uint64_t deadline_after(std::uint64_t duration_ns) {
  const std::uint64_t now = port::monotonic_ns();
  return duration_ns >= kNoDeadline - now ? kNoDeadline : now + duration_ns;
}

}  // namespace holstein
