// What must not lie in user memory, or leave the kernel. Without any macro it compiles.
#include <cstdint>
#include <span>

#include "uaccess/user_ptr.h"

namespace holstein {

struct Padded {
  std::uint64_t value;
  std::uint32_t tail;
};

// Without padding, but the compiler cannot say so of floating-point numbers: its author vouches.
struct Vouched {
  std::uint64_t value;
  double share;
};
template <>
inline constexpr bool kUserAbiSafe<Vouched> = true;

struct HasPointer {
  UserIn<int> inner;
};

struct HasConstructor {
  HasConstructor(const HasConstructor& other);
  int value;
};

#ifdef BOOL
using Wrong = UserIn<bool>;
#elifdef POINTER
using Wrong = UserIn<char*>;
#elifdef CONSTANT
using Wrong = UserIn<const int>;
#elifdef ARRAY
using Wrong = UserIn<int[4]>;
#elifdef USER_POINTER
using Wrong = UserIn<UserIn<int> >;
#elifdef STRUCT_WITH_USER_POINTER
using Wrong = UserIn<HasPointer>;
#elifdef NOT_TRIVIAL
using Wrong = UserIn<HasConstructor>;
#elifdef FUNCTION
using Wrong = UserIn<int()>;
#elifdef SPAN_OF_POINTERS
using Wrong = UserSpan<char*, Direction::kIn>;
#else
using Wrong = UserIn<Padded>;
#endif

bool check(Wrong pointer) { return pointer.is_null(); }

Result<void> copies(UserOut<Padded> out, UserSpan<Padded, Direction::kOut> span,
                    UserOut<Vouched> vouched, const Padded& value) {
#ifdef PUT_PADDED
  TRY(out.put(value));
#elifdef COPY_OUT_PADDED
  TRY(span.copy_out(std::span(&value, 1)));
#elifdef COPY_OUT_PADDED_PARTIAL
  return span.copy_out_partial(std::span(&value, 1)) == 0 ? fail(Errno::kEFAULT) : Result<void>();
#endif
  (void)out.is_null();
  (void)span.size();
  return vouched.put({.value = value.value, .share = 0});
}

}  // namespace holstein
