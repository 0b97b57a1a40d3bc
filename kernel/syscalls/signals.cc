// Signals: actions, masks, sending, waiting.
#include <array>
#include <bit>

#include "kernel/syscalls/handlers.h"
#include "proc/signal.h"

namespace holstein {
namespace {

// Every call with a sigset_t says how large it is; the kernel's has 8 bytes (EINVAL otherwise).
Result<void> check_mask_size(std::uint64_t size_bytes) {
  if (size_bytes != sizeof(SignalMask)) {
    return fail(Errno::kEINVAL);
  }
  return {};
}

}  // namespace

SystemCallResult sys_rt_sigaction(SignalNumber signal, UserIn<SignalAction> wanted,
                                  UserOut<SignalAction> previous, std::uint64_t mask_bytes) {
  TRY(check_mask_size(mask_bytes));
  std::optional<SignalAction> action;
  if (!wanted.is_null()) {
    TRY_ASSIGN(action, wanted.get());
  }
  TRY_ASSIGN(const SignalAction old, change_action(signal.number, action));
  if (!previous.is_null()) {
    TRY(previous.put(old));
  }
  return 0;
}

SystemCallResult sys_rt_sigprocmask(int how, UserIn<SignalMask> wanted,
                                    UserOut<SignalMask> previous, std::uint64_t mask_bytes) {
  TRY(check_mask_size(mask_bytes));
  std::optional<SignalMask> set;
  if (!wanted.is_null()) {
    TRY_ASSIGN(set, wanted.get());
  }
  TRY_ASSIGN(const SignalMask old, change_blocked(how, set));
  if (!previous.is_null()) {
    TRY(previous.put(old));
  }
  return 0;
}

SystemCallResult sys_rt_sigpending(UserOut<SignalMask> to, std::uint64_t mask_bytes) {
  if (mask_bytes > sizeof(SignalMask)) {
    return fail(Errno::kEINVAL);
  }
  const SignalMask pending = pending_signals();
  const auto bytes = std::bit_cast<std::array<std::byte, sizeof(SignalMask)>>(pending);
  const auto user =
      UserSpan<std::byte, Direction::kOut>::from_value(to.unsafe_address(), mask_bytes);
  return done(user.copy_out(std::span<const std::byte>(bytes).first(mask_bytes)));
}

SystemCallResult sys_rt_sigsuspend(UserIn<SignalMask> mask, std::uint64_t mask_bytes) {
  TRY(check_mask_size(mask_bytes));
  TRY_ASSIGN(const SignalMask wanted, mask.get());
  return done(suspend_until_signal(wanted));
}

SystemCallResult sys_rt_sigtimedwait(UserIn<SignalMask> set, UserOut<SignalInfo> info,
                                     UserIn<Timespec> timeout, std::uint64_t mask_bytes) {
  TRY(check_mask_size(mask_bytes));
  TRY_ASSIGN(const SignalMask wanted, set.get());
  std::uint64_t deadline_ns = kNoDeadline;
  if (!timeout.is_null()) {
    TRY_ASSIGN(const std::uint64_t duration_ns, fetch_duration_ns(timeout));
    deadline_ns = deadline_after(duration_ns);
  }
  TRY_ASSIGN(const SignalInfo received, wait_for_signal(wanted, deadline_ns));
  if (!info.is_null()) {
    TRY(info.put(received));
  }
  return received.signal;
}

namespace {

// Of a siginfo_t the first 48 bytes carry something; a program may have no more than these.
Result<SignalInfo> fetch_information(const UserIn<SignalInfo>& from) {
  constexpr std::size_t kCarried = 48;
  std::array<std::byte, sizeof(SignalInfo)> bytes{};
  TRY(UserBytesIn::from_value(from.unsafe_address(), kCarried)
          .copy_in(std::span(bytes).first(kCarried)));
  return std::bit_cast<SignalInfo>(bytes);
}

}  // namespace

SystemCallResult sys_rt_sigqueueinfo(ProcessNumber pid, SignalNumber signal,
                                     UserIn<SignalInfo> info) {
  TRY_ASSIGN(const SignalInfo wanted, fetch_information(info));
  return done(queue_signal(pid.number, signal.number, wanted));
}
SystemCallResult sys_rt_tgsigqueueinfo(ProcessNumber tgid, ProcessNumber tid, SignalNumber signal,
                                       UserIn<SignalInfo> info) {
  TRY_ASSIGN(const SignalInfo wanted, fetch_information(info));
  return done(queue_signal_to_thread(tgid.number, tid.number, signal.number, wanted));
}

SystemCallResult sys_kill(ProcessNumber pid, SignalNumber signal) {
  return done(kill(pid.number, signal.number));
}
SystemCallResult sys_tkill(ProcessNumber tid, SignalNumber signal) {
  return done(tkill(tid.number, signal.number));
}
SystemCallResult sys_tgkill(ProcessNumber tgid, ProcessNumber tid, SignalNumber signal) {
  return done(tgkill(tgid.number, tid.number, signal.number));
}

SystemCallResult sys_sigaltstack(UserIn<SignalStack> wanted, UserOut<SignalStack> previous,
                                 UserRegisters& registers) {
  std::optional<SignalStack> stack;
  if (!wanted.is_null()) {
    TRY_ASSIGN(stack, wanted.get());
  }
  TRY_ASSIGN(const SignalStack old, change_signal_stack(stack, registers.rsp));
  if (!previous.is_null()) {
    TRY(previous.put(old));
  }
  return 0;
}

SystemCallResult sys_rt_sigreturn(UserRegisters& registers) { return signal_return(registers); }
SystemCallResult sys_restart_syscall() { return restart_system_call(); }
SystemCallResult sys_pause() { return done(pause_until_signal()); }

}  // namespace holstein
