// What must not be done with a UserSpan or an iterator over some. Without any macro it compiles.
#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include "uaccess/io_iterator.h"
#include "uaccess/user_ptr.h"

namespace holstein {

Result<void> system_call(UserBytesIn in, UserBytesOut out, std::span<std::byte> kernel) {
#ifdef SUBSCRIPT
  kernel[0] = in[0];
#elifdef RANGE_FOR
  for (std::byte byte : in) kernel[0] = byte;
#elifdef DATA
  std::memcpy(kernel.data(), in.data(), in.size());
#elifdef TO_STD_SPAN
  const std::span<const std::byte> view = in;
#elifdef FROM_STD_SPAN
  in = kernel;
#elifdef COMPARE
  if (in == out) return {};
#elifdef READ_OUT_SPAN
  TRY(out.copy_in(kernel));
#elifdef WRITE_IN_SPAN
  TRY(in.copy_out(kernel));
#elifdef CLEAR_IN_SPAN
  TRY(in.clear());
#elifdef OTHER_ELEMENT
  std::array<int, 4> numbers;
  TRY(in.copy_in(numbers));
#elifdef IGNORED_COPY
  in.copy_in(kernel);
#elifdef IGNORED_PARTIAL_COPY
  in.copy_in_partial(kernel);
#elifdef SINK_OVER_IN_SPAN
  (void)IoSink::to_user(in);
#elifdef SOURCE_OVER_OUT_SPAN
  (void)IoSource::from_user(out);
#elifdef SINK_OVER_CONSTANT_BUFFER
  (void)IoSink::to_kernel(std::span<const std::byte>(kernel));
#elifdef READ_FROM_SINK
  (void)IoSink::to_user(out).read(kernel);
#elifdef IGNORED_WRITE
  IoSink::to_user(out).write(kernel);
#endif
  TRY(in.first(kernel.size()).copy_in(kernel));
  TRY(out.first(kernel.size()).copy_out(kernel));
  IoSource source = IoSource::from_user(in);
  return IoSink::to_user(out).write(kernel.first(source.read(kernel))) == 0 ? fail(Errno::kEFAULT)
                                                                            : Result<void>();
}

}  // namespace holstein
