// Writing the frame of a handler to user memory, and going back to what it holds.
#include "proc/signal_frame.h"

#include <span>

#include "lib/address.h"
#include "proc/process.h"
#include "proc/signal_deliver.h"
#include "proc/thread.h"
#include "uaccess/user_ptr.h"

namespace holstein {

namespace {

bool is_on_stack(const SignalStack& stack, std::uint64_t rsp) {
  return rsp > stack.address && rsp - stack.address <= stack.size_bytes;
}

// A copy of the FPU's state, which must not be the thread's own: what is copied from or to user
// memory may sleep, and a switch of threads writes that. Where there are no registers wider than
// AVX's it takes no allocation.
class FpImage {
 public:
  explicit FpImage(std::size_t size_bytes)
      : bytes(size_bytes <= sizeof(small_) ? small_ : new(std::nothrow) std::byte[size_bytes]) {}
  ~FpImage() {
    if (bytes != small_) delete[] bytes;
  }
  FpImage(const FpImage&) = delete;
  FpImage& operator=(const FpImage&) = delete;

 private:
  alignas(64) std::byte small_[1024];  // not initialised

 public:
  std::byte* const bytes;  // null: ENOMEM
};

Result<void> write_fp_state(Thread& thread, std::uint64_t address, std::size_t bytes) {
  [[clang::uninitialized]] FpImage image(bytes);
  if (image.bytes == nullptr) {
    return fail(Errno::kENOMEM);
  }
  const std::span<std::byte> span(image.bytes, bytes);
  port::context_save_user(thread.context);
  port::fpu_to_signal_frame(thread.context.fpu, span);
  return UserBytesOut::from_value(address, bytes).copy_out(span);
}

Result<void> read_fp_state(Thread& thread, std::uint64_t address) {
  // Other threads may change the image meanwhile: the extent is read first and decides how much of
  // it counts; the checks are made on the copy.
  constexpr std::size_t kLegacyBytes = 512;
  const std::size_t full = port::fpu_signal_frame_size();
  [[clang::uninitialized]] FpImage image(full);
  if (image.bytes == nullptr) {
    return fail(Errno::kENOMEM);
  }
  const std::span<std::byte> legacy(image.bytes, kLegacyBytes);
  TRY(UserBytesIn::from_value(address, kLegacyBytes).copy_in(legacy));
  const std::size_t extent = port::fpu_signal_frame_extent(legacy);
  if (extent < kLegacyBytes || extent > full) {
    return fail(Errno::kEINVAL);
  }
  if (extent > kLegacyBytes) {
    const std::span<std::byte> rest(image.bytes + kLegacyBytes, extent - kLegacyBytes);
    TRY(UserBytesIn::from_value(address + kLegacyBytes, rest.size()).copy_in(rest));
  }
  TRY(port::fpu_from_signal_frame(std::span(image.bytes, extent), thread.context.fpu));
  port::fpu_restore(thread.context.fpu);
  return {};
}

// False for a frame whose segments are not those of a 64-bit program, whatever privilege they ask
// for. The kernel never loads them; Linux does, and the processor refuses.
bool has_user_selectors(const SignalContext& context) {
  constexpr std::uint16_t kUserPrivilege = 3;
  return (context.cs | kUserPrivilege) == kUserCodeSelector &&
         (context.ss | kUserPrivilege) == kUserDataSelector;
}

}  // namespace

Result<void> push_signal_frame(Thread& thread, UserRegisters& registers, const SignalAction& action,
                               const SignalInfo& info, SignalMask mask) {
  std::uint64_t top = registers.rsp - kRedZoneBytes;
  SignalStack& stack = thread.signal_stack;
  const bool is_usable = (stack.flags & kSsDisable) == 0 && stack.size_bytes != 0;
  const bool is_on_it =
      is_usable && (stack.flags & kSsAutoDisarm) == 0 && is_on_stack(stack, registers.rsp);
  if ((action.flags & kSaOnStack) != 0 && is_usable && !is_on_it) {
    top = stack.address + stack.size_bytes;
  }
  const std::size_t fp_bytes = port::fpu_signal_frame_size();
  const SignalFramePlace place = place_signal_frame(top, fp_bytes);
  // A frame that runs off the lower end of the alternate stack would land in somebody's data.
  if ((is_on_it || top == stack.address + stack.size_bytes) && is_usable &&
      (action.flags & kSaOnStack) != 0 && !is_on_stack(stack, place.frame)) {
    return fail(Errno::kEFAULT);
  }
  // The kernel has no code in user space to return through: the C library brings it.
  if ((action.flags & kSaRestorer) == 0) {
    return fail(Errno::kEFAULT);
  }
  TRY(write_fp_state(thread, place.fp_state, fp_bytes));

  SignalFrame frame{.return_address = action.restorer,
                    .context = {.flags = kUcSignalContextSs | kUcStrictRestoreSs |
                                         (fp_bytes > 512 ? kUcFpXstate : 0),
                                .link = 0,
                                .stack = stack,
                                .context = to_signal_context(registers, thread.last_fault, mask),
                                .mask = mask},
                    .info = info};
  frame.context.stack.flags |= is_on_it ? kSsOnStack : 0;
  frame.context.context.fp_state = place.fp_state;
  TRY(UserOut<SignalFrame>::from_value(place.frame).put(frame));
  if ((stack.flags & kSsAutoDisarm) != 0) {
    stack = SignalStack{};
  }

  registers.rdi = static_cast<std::uint64_t>(info.signal);
  registers.rsi = place.frame + offsetof(SignalFrame, info);
  registers.rdx = place.frame + offsetof(SignalFrame, context);
  registers.rax = 0;
  registers.rip = action.handler;
  registers.rsp = place.frame;
  registers.rflags &= ~(kFlagsDirection | kFlagsResume | kFlagsTrap);
  registers.orig_rax = kNoSystemCall;
  sanitize_user_registers(registers);
  port::fpu_init(thread.context.fpu);
  port::fpu_restore(thread.context.fpu);
  return {};
}

std::int64_t signal_return(UserRegisters& registers) {
  Thread& thread = current_thread();
  const std::uint64_t address = registers.rsp - sizeof(std::uint64_t);
  [[clang::uninitialized]] SignalFrame frame;
  Result<void> read =
      UserSpan<SignalFrame, Direction::kIn>::from_value(address, 1).copy_in({&frame, 1});
  if (read.has_value() && frame.context.context.fp_state != 0) {
    read = read_fp_state(thread, frame.context.context.fp_state);
  }
  if (!read.has_value()) {
    force_signal(thread, {.signal = kSigSegv, .code = kSiKernel});
    registers.orig_rax = kNoSystemCall;
    return 0;
  }
  if (frame.context.context.fp_state == 0) {
    port::fpu_init(thread.context.fpu);
    port::fpu_restore(thread.context.fpu);
  }
  set_blocked(frame.context.mask & ~kUnblockableSignals);
  registers = from_signal_context(frame.context.context, registers);
  // As Linux: a stack that sigaltstack would refuse is passed over.
  SignalStack stack = frame.context.stack;
  stack.reserved = 0;
  stack.flags &= ~kSsOnStack;
  static_cast<void>(change_signal_stack(stack, registers.rsp));
  if (!has_user_selectors(frame.context.context)) {
    force_signal(thread, {.signal = kSigSegv, .code = kSiKernel});
  }
  return static_cast<std::int64_t>(registers.rax);
}

}  // namespace holstein
