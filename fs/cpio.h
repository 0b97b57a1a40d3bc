// The cpio format "newc" (cpio(5)): one member at a time out of untrusted bytes. Private to fs/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "lib/result.h"

namespace holstein {

// What a header says, with name and contents as views into the archive.
struct CpioMember {
  std::uint64_t inode = 0;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t links = 0;
  std::uint32_t modified_seconds = 0;
  std::uint32_t device_major = 0, device_minor = 0;    // where it came from
  std::uint32_t special_major = 0, special_minor = 0;  // what a device node stands for
  std::string_view name;                               // up to its first NUL
  std::span<const std::byte> contents;
  std::uint64_t contents_offset = 0;  // in the archive
};

// Reads members one after the other. Every offset is checked against the archive's size before it
// is used.
class CpioReader {
 public:
  explicit CpioReader(std::span<const std::byte> archive) : archive_(archive) {}

  // False at the end (the trailer, with only zeros behind it). EINVAL: problem() says what is
  // wrong, offset() where.
  [[nodiscard]] Result<bool> next(CpioMember& member);

  const char* problem() const { return problem_; }
  std::uint64_t offset() const { return offset_; }

 private:
  std::unexpected<Errno> refuse(const char* problem);
  Result<bool> skip_zeros_after_trailer();

  std::span<const std::byte> archive_;
  std::uint64_t offset_ = 0;
  const char* problem_ = nullptr;
};

}  // namespace holstein
