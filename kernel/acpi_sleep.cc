// Finding \_S5 without an AML interpreter: by its encoding (ACPI 6.5, 20.2.5.1 and 20.2.5.4).
#include <cstring>
#include <span>

#include "kernel/acpi_tables.h"

namespace holstein {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::byte kNameOp{0x08};
constexpr std::byte kPackageOp{0x12};
constexpr std::byte kRootPrefix{'\\'};
constexpr std::byte kBytePrefix{0x0a};
constexpr std::byte kWordPrefix{0x0b};
constexpr std::byte kDWordPrefix{0x0c};
constexpr std::byte kZeroOp{0x00};
constexpr std::byte kOneOp{0x01};
constexpr std::byte kOnesOp{0xff};

// Takes a small integer off `bytes`.
bool take_integer(Bytes& bytes, std::uint8_t& value) {
  if (bytes.empty()) {
    return false;
  }
  const std::byte op = bytes[0];
  std::size_t length = 1;
  if (op == kZeroOp || op == kOneOp || op == kOnesOp) {
    value = static_cast<std::uint8_t>(op);
  } else {
    length += op == kBytePrefix ? 1 : op == kWordPrefix ? 2 : op == kDWordPrefix ? 4 : 0;
    if (length == 1 || bytes.size() < length) {
      return false;
    }
    value = static_cast<std::uint8_t>(bytes[1]);
  }
  bytes = bytes.subspan(length);
  return true;
}

// `bytes` begins behind the name.
bool take_package(Bytes bytes, std::uint8_t& type_a, std::uint8_t& type_b) {
  if (bytes.size() < 3 || bytes[0] != kPackageOp) {
    return false;
  }
  // PkgLength: bits 7 and 6 of its first byte say how many bytes follow. Then the element count.
  const std::size_t length_bytes = 1 + (static_cast<std::size_t>(bytes[1]) >> 6);
  if (bytes.size() < 1 + length_bytes + 1) {
    return false;
  }
  const auto elements = static_cast<std::uint8_t>(bytes[1 + length_bytes]);
  bytes = bytes.subspan(1 + length_bytes + 1);
  if (elements == 0 || !take_integer(bytes, type_a)) {
    return false;
  }
  type_b = 0;
  return elements == 1 || take_integer(bytes, type_b);
}

}  // namespace

bool acpi_find_sleep5(const std::byte* aml, std::size_t bytes, std::uint8_t& type_a,
                      std::uint8_t& type_b) {
  const Bytes table(aml, bytes);
  for (std::size_t i = 1; i + 4 <= table.size(); ++i) {
    if (std::memcmp(aml + i, "_S5_", 4) != 0) {
      continue;
    }
    const bool is_name =
        aml[i - 1] == kNameOp || (i >= 2 && aml[i - 1] == kRootPrefix && aml[i - 2] == kNameOp);
    if (is_name && take_package(table.subspan(i + 4), type_a, type_b)) {
      return true;
    }
  }
  return false;
}

}  // namespace holstein
