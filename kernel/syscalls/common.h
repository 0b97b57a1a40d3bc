// What handlers of several topics share: results, paths, descriptors.
#pragma once

#include <cstdint>
#include <string_view>

#include "fs/file.h"
#include "fs/mount.h"
#include "fs/path.h"
#include "kernel/syscalls/table.h"
#include "lib/result.h"
#include "lib/vec.h"
#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

// AT_* flags (man 2 openat and its like).
inline constexpr std::int32_t kAtCurrentDirectory = -100;
inline constexpr std::uint32_t kAtSymlinkNoFollow = 0x100;
inline constexpr std::uint32_t kAtEffectiveAccess = 0x200;
inline constexpr std::uint32_t kAtRemoveDirectory = 0x200;
inline constexpr std::uint32_t kAtSymlinkFollow = 0x400;
inline constexpr std::uint32_t kAtNoAutomount = 0x800;
inline constexpr std::uint32_t kAtEmptyPath = 0x1000;

// A call without a value of its own returns 0.
inline SystemCallResult done(const Result<void>& result) {
  if (!result) return fail(result.error());
  return 0;
}
template <class T>
SystemCallResult number(const Result<T>& result) {
  if (!result) return fail(result.error());
  return static_cast<std::int64_t>(*result);
}

// A path or other string fetched from user memory, once. A short one needs no allocation; it stays
// where it is, because view() may point into this object.
class FetchedString {
 public:
  FetchedString() = default;
  FetchedString(const FetchedString&) = delete;
  FetchedString& operator=(const FetchedString&) = delete;

  // Once. EFAULT, ENAMETOOLONG beyond `max_bytes` with the NUL, ENOMEM.
  [[nodiscard]] Result<void> fetch(const UserString& from, std::size_t max_bytes);
  [[nodiscard]] Result<void> fetch(const UserPath& path) {
    return fetch(path.string, kMaxPathBytes);
  }
  std::string_view view() const { return {long_.empty() ? short_ : long_.data(), length_}; }

 private:
  static constexpr std::size_t kShortBytes = 128;

  std::size_t length_ = 0;
  Vec<char> long_;           // the whole string, where it does not fit into short_
  char short_[kShortBytes];  // not initialised: only what was fetched is ever looked at
};

// An array whose length a system call's argument says: in place where it is short.
template <class T, std::size_t kFew = 8>
class ArgumentArray {
 public:
  ArgumentArray() = default;
  ArgumentArray(const ArgumentArray&) = delete;
  ArgumentArray& operator=(const ArgumentArray&) = delete;

  // Once. ENOMEM.
  [[nodiscard]] Result<void> resize(std::size_t size) {
    size_ = size;
    if (size > kFew) TRY(many_.resize(size));
    return {};
  }
  std::span<T> span() { return {size_ > kFew ? many_.data() : few_, size_}; }

 private:
  std::size_t size_ = 0;
  T few_[kFew] = {};
  Vec<T> many_;
};

// Where a relative path starts.
class PathBase {
 public:
  // EBADF where the path is relative and the descriptor is not open. An absolute path does not look
  // at it.
  static Result<PathBase> of(DirectoryDescriptor directory, std::string_view path);
  // As fs/operations.h wants it: null for the working directory.
  const Path* get() const { return has_path_ ? &path_ : nullptr; }

 private:
  Path path_;
  bool has_path_ = false;
};

// The open file behind a descriptor of the current process. EBADF.
inline Result<RefPtr<File>> file_of(FileDescriptor descriptor) {
  return current_thread().own_files().get(descriptor.number);
}
// The same, and EBADF for O_PATH descriptors, on which only names are looked up.
Result<RefPtr<File>> usable_file_of(FileDescriptor descriptor);

// Resolves a fetched path. `flags` are kResolve...; `empty` allows "" to mean the base.
Result<Path> resolve_from(DirectoryDescriptor directory, std::string_view path,
                          std::uint32_t flags);
// ... as the AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH of `at_flags` say.
Result<Path> resolve_at(DirectoryDescriptor directory, const UserPath& path,
                        std::uint32_t at_flags);

inline constexpr DirectoryDescriptor kWorkingDirectory{.number = kAtCurrentDirectory};

// Reads a Timespec and checks it: EFAULT, EINVAL.
Result<std::uint64_t> fetch_duration_ns(const UserIn<Timespec>& from);
// Seconds and nanoseconds as nanoseconds; what does not fit becomes the largest. EINVAL.
Result<std::uint64_t> to_duration_ns(const Timespec& time);
// Now plus `duration_ns`, kNoDeadline where that does not fit.
std::uint64_t deadline_after(std::uint64_t duration_ns);

}  // namespace holstein
