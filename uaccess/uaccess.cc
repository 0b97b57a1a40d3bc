// The classic names, upon border.h.
#include "uaccess/uaccess.h"

#include "lib/errno.h"
#include "uaccess/border.h"
#include "uaccess/port.h"

namespace holstein {
namespace {

std::uint64_t address_of(UserSource pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

constexpr int kFault = static_cast<int>(to_return_value(Errno::kEFAULT));

}  // namespace

int copy_from_user(void* to, UserSource from, std::size_t bytes) {
  const std::uint64_t address = checked_user_address(address_of(from), bytes);
  return border::copy_in(to, address, bytes, border::Fetch::kArgument) == bytes ? 0 : kFault;
}

int copy_to_user(UserTarget to, const void* from, std::size_t bytes) {
  const std::uint64_t address = checked_user_address(address_of(to), bytes);
  return border::copy_out(address, from, bytes) == bytes ? 0 : kFault;
}

std::ptrdiff_t strncpy_from_user(char* to, UserText from, std::size_t bytes) {
  const RawString raw = border::string_copy_in(to, address_of(from), bytes);
  if (raw.end == StringEnd::kFault) {
    if (bytes != 0) *to = '\0';
    return kFault;
  }
  return static_cast<std::ptrdiff_t>(raw.length);
}

std::size_t strnlen_user(UserText string, std::size_t max) {
  const RawString raw = border::string_length(address_of(string), max);
  return raw.end == StringEnd::kFault ? 0 : raw.length + 1;
}

bool validate_user_pointer(UserSource pointer, std::size_t size, bool write) {
  return address_of(pointer) != 0 && size != 0 && validate_user_buffer(pointer, size, write);
}

bool validate_user_buffer(UserSource pointer, std::size_t size, bool write) {
  const std::uint64_t address = address_of(pointer);
  if (!user_range_ok(address, size)) return false;
  return size == 0 ||
         user_range_is_mapped(address, size, write ? UserAccess::kWrite : UserAccess::kRead);
}

}  // namespace holstein
