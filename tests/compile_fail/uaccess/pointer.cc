// What must not be done with a UserPtr or a UserString. Without any macro it compiles.
#include <bit>
#include <cstdint>
#include <cstring>

#include "uaccess/user_ptr.h"

namespace holstein {

struct Timespec {
  std::int64_t seconds;
  std::int64_t nanoseconds;
};

struct Other {
  std::int64_t member;
};

Result<std::int64_t> system_call(UserIn<Timespec> in, UserOut<Timespec> out,
                                 UserInOut<std::uint32_t> word, UserString text, char* kernel) {
#ifdef DEREFERENCE
  return (*in).seconds;
#elifdef ARROW
  return in->seconds;
#elifdef SUBSCRIPT
  return in[0].seconds;
#elifdef ARITHMETIC
  in = in + 1;
#elifdef INCREMENT
  ++in;
#elifdef TO_POINTER
  const void* pointer = in;
#elifdef TO_NUMBER
  const std::uint64_t number = in;
#elifdef TO_BOOL
  if (in) return 0;
#elifdef STATIC_CAST
  const auto* pointer = static_cast<const Timespec*>(in);
#elifdef REINTERPRET_CAST
  const auto* pointer = reinterpret_cast<const Timespec*>(in);
#elifdef C_CAST
  const auto* pointer = (const Timespec*)in;
#elifdef BIT_CAST
  const auto* pointer = std::bit_cast<const Timespec*>(in);
#elifdef FROM_NUMBER
  const UserIn<Timespec> made(0x1000);
#elifdef FROM_NUMBER_IMPLICITLY
  const UserIn<Timespec> made = 0x1000;
#elifdef FROM_KERNEL_POINTER
  const UserString made(kernel);
#elifdef FROM_NULLPTR
  const UserIn<Timespec> made = nullptr;
#elifdef COMPARE_WITH_KERNEL_POINTER
  if (text == kernel) return 0;
#elifdef COMPARE_WITH_NULLPTR
  if (in == nullptr) return 0;
#elifdef COMPARE_WITH_NUMBER
  if (in == 0x1000) return 0;
#elifdef COMPARE_WITH_EACH_OTHER
  if (in == in) return 0;
#elifdef ORDER
  if (in < in) return 0;
#elifdef MEMCPY_FROM
  std::memcpy(kernel, text, 8);
#elifdef MEMCPY_TO
  std::memcpy(out, kernel, sizeof(Timespec));
#elifdef STRLEN
  return std::strlen(text);
#elifdef READ_OUT_POINTER
  TRY_ASSIGN(const Timespec value, out.get());
#elifdef WRITE_IN_POINTER
  TRY(in.put({}));
#elifdef EXCHANGE_IN_POINTER
  TRY_ASSIGN(const auto old, UserIn<std::uint32_t>(word).compare_exchange(0, 1));
#elifdef IN_BECOMES_OUT
  const UserOut<Timespec> other = in;
#elifdef IN_BECOMES_INOUT
  const UserInOut<Timespec> other = in;
#elifdef OTHER_TYPE
  const UserIn<std::uint64_t> other = in;
#elifdef IGNORED_READ
  in.get();
#elifdef IGNORED_WRITE
  out.put({});
#elifdef UNCHECKED_VALUE
  const Timespec value = in.get();
#elifdef FIELD_OF_ANOTHER_TYPE
  in.field(&Other::member);
#endif
  (void)text.is_null();
  (void)kernel;
  TRY_ASSIGN(const Timespec value, in.get());
  TRY(out.put(value));
  const UserIn<std::uint32_t> narrowed = word;
  TRY_ASSIGN(const std::uint32_t number, narrowed.get());
  return number;
}

}  // namespace holstein
