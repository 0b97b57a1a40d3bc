#include "fs/cpio.h"

#include <algorithm>

#include "fs/abi.h"
#include "lib/address.h"

namespace holstein {
namespace {

constexpr std::size_t kHeaderBytes = 110;
constexpr std::size_t kMagicBytes = 6;
constexpr std::size_t kFieldBytes = 8;
constexpr std::size_t kFields = 13;
constexpr std::string_view kPlainMagic = "070701";
constexpr std::string_view kChecksumMagic = "070702";
constexpr std::string_view kTrailer = "TRAILER!!!";
static_assert(kMagicBytes + kFields * kFieldBytes == kHeaderBytes);

// Eight hexadecimal digits in either case, nothing else.
bool parse_field(std::string_view text, std::uint32_t& value) {
  value = 0;
  for (const char character : text) {
    std::uint32_t digit = 0;
    if (character >= '0' && character <= '9') {
      digit = static_cast<std::uint32_t>(character - '0');
    } else if (character >= 'a' && character <= 'f') {
      digit = static_cast<std::uint32_t>(character - 'a') + 10;
    } else if (character >= 'A' && character <= 'F') {
      digit = static_cast<std::uint32_t>(character - 'A') + 10;
    } else {
      return false;
    }
    value = value << 4 | digit;
  }
  return true;
}

std::uint32_t checksum_of(std::span<const std::byte> bytes) {
  std::uint32_t sum = 0;
  for (const std::byte byte : bytes) sum += static_cast<std::uint32_t>(byte);
  return sum;
}

}  // namespace

std::unexpected<Errno> CpioReader::refuse(const char* problem) {
  problem_ = problem;
  return fail(Errno::kEINVAL);
}

// Another archive may follow the trailer's padding (Linux's early images); anything else but zeros
// is damage.
Result<bool> CpioReader::skip_zeros_after_trailer() {
  while (offset_ < archive_.size() && archive_[offset_] == std::byte{0}) ++offset_;
  return offset_ < archive_.size();
}

Result<bool> CpioReader::next(CpioMember& member) {
  while (true) {
    const std::uint64_t left = archive_.size() - offset_;
    const std::string_view text(reinterpret_cast<const char*>(archive_.data()) + offset_, left);
    if (left < kHeaderBytes) return refuse("it ends inside a header");
    const std::string_view magic = text.substr(0, kMagicBytes);
    if (magic != kPlainMagic && magic != kChecksumMagic) {
      const bool is_compressed = text.starts_with("\x1f\x8b") ||
                                 text.starts_with(
                                     "\xfd"
                                     "7zXZ") ||
                                 text.starts_with("\x28\xb5\x2f\xfd");
      return refuse(is_compressed ? "it is compressed; only plain archives are read"
                                  : "no newc header where one must be");
    }
    std::uint32_t fields[kFields];
    for (std::size_t i = 0; i < kFields; ++i) {
      if (!parse_field(text.substr(kMagicBytes + i * kFieldBytes, kFieldBytes), fields[i])) {
        return refuse("a header field is no hexadecimal number");
      }
    }
    const std::uint64_t size = fields[6];
    const std::uint64_t name_size = fields[11];
    if (name_size == 0 || name_size > kMaxPathBytes) return refuse("a name is empty or too long");
    if (name_size > left - kHeaderBytes) return refuse("it ends inside a name");
    const std::string_view name_field = text.substr(kHeaderBytes, name_size);
    // As Linux: the field ends with a NUL; the name may end before.
    if (name_field.back() != '\0') return refuse("a name has no end");
    const std::size_t name_length = name_field.find('\0');

    const std::uint64_t contents = align_up(kHeaderBytes + name_size, 4);
    if (contents > left || size > left - contents) return refuse("it ends inside a file");
    member = {.inode = fields[0],
              .mode = fields[1],
              .uid = fields[2],
              .gid = fields[3],
              .links = fields[4],
              .modified_seconds = fields[5],
              .device_major = fields[7],
              .device_minor = fields[8],
              .special_major = fields[9],
              .special_minor = fields[10],
              .name = name_field.substr(0, name_length),
              .contents = archive_.subspan(offset_ + contents, size),
              .contents_offset = offset_ + contents};
    if (magic == kChecksumMagic && checksum_of(member.contents) != fields[12]) {
      return refuse("a file's checksum is wrong");
    }
    // The padding after the last member may be missing.
    offset_ = std::min<std::uint64_t>(archive_.size(), offset_ + align_up(contents + size, 4));
    if (member.name != kTrailer) return true;
    TRY_ASSIGN(const bool more, skip_zeros_after_trailer());
    if (!more) return false;
  }
}

}  // namespace holstein
