// The system as a whole: names, figures, randomness, prctl, the log, power.
#include <algorithm>
#include <cstring>

#include "fs/process_view.h"
#include "kernel/syscalls/handlers.h"
#include "lib/random.h"
#include "proc/limits.h"
#include "proc/process.h"
#include "vm/frame.h"

namespace holstein {

// ---- Names
// -----------------------------------------------------------------------------------------

SystemCallResult sys_uname(UserOut<LinuxUtsname> to) {
  constexpr port::SystemName kFields[] = {port::SystemName::kType,    port::SystemName::kHost,
                                          port::SystemName::kRelease, port::SystemName::kVersion,
                                          port::SystemName::kMachine, port::SystemName::kDomain};
  LinuxUtsname names{};
  for (std::size_t i = 0; i < std::size(kFields); ++i) {
    TRY_ASSIGN(const String text, port::system_name(kFields[i]));
    const std::string_view cut = text.view().substr(0, kUtsFieldBytes - 1);
    std::memcpy(names.fields[i], cut.data(), cut.size());
  }
  return done(to.put(names));
}

SystemCallResult sys_sethostname(UserSpan<char, Direction::kIn> name) {
  constexpr std::size_t kMostBytes = kUtsFieldBytes - 1;
  TRY(require_capability(Capability::kSysAdmin));
  if (name.size() > kMostBytes) {
    return fail(Errno::kEINVAL);
  }
  char text[kMostBytes];
  TRY(name.copy_in({text, name.size()}));
  return done(port::set_host_name({text, name.size()}, current_identity().file_credentials()));
}

// ---- Figures
// ---------------------------------------------------------------------------------------

SystemCallResult sys_sysinfo(UserOut<LinuxSysinfo> to) {
  const port::SystemStatus status = port::system_status();
  frame_stats_t frames;
  frame_get_stats(&frames);
  LinuxSysinfo info{};
  info.uptime_seconds = static_cast<std::int64_t>(port::monotonic_ns() / kNsPerSecond);
  for (std::size_t i = 0; i < 3; ++i) {
    // Fixed point with 16 bits behind the point (SI_LOAD_SHIFT).
    info.loads[i] = (static_cast<std::uint64_t>(status.load_permille[i]) << 16) / 1000;
  }
  info.total_ram = (frames.total_frames - frames.reserved_frames) << kPageShift;
  info.free_ram = frames.free_frames << kPageShift;
  info.processes = static_cast<std::uint16_t>(std::min<std::uint32_t>(status.threads, 65535));
  info.unit = 1;
  return done(to.put(info));
}

SystemCallResult sys_getrandom(UserOut<std::byte> buffer, std::uint64_t size_bytes,
                               FlagsArgument flags) {
  constexpr std::uint32_t kNonBlock = 1;
  constexpr std::uint32_t kRandom = 2;
  constexpr std::uint32_t kInsecure = 4;
  constexpr std::size_t kChunkBytes = 256;
  if ((flags.bits & ~(kNonBlock | kRandom | kInsecure)) != 0 ||
      (flags.bits & (kRandom | kInsecure)) == (kRandom | kInsecure)) {
    return fail(Errno::kEINVAL);
  }
  // As for read(2): a length beyond what one transfer moves is cut, a range that then reaches out
  // of user space is refused.
  const std::size_t wanted = std::min<std::uint64_t>(size_bytes, kMaxTransferBytes);
  const UserBytesOut user = buffer.span(wanted);
  if (!user.in_range()) {
    return fail(Errno::kEFAULT);
  }
  std::size_t total = 0;
  std::byte chunk[kChunkBytes];
  while (total < wanted) {
    const std::span<std::byte> part(chunk, std::min(kChunkBytes, wanted - total));
    random_bytes(part);
    const std::size_t moved = user.subspan(total, part.size()).copy_out_partial(part);
    total += moved;
    if (moved < part.size()) {
      break;
    }
    // Large requests can be interrupted, small ones never are (getrandom(2)).
    if (total >= kChunkBytes && signal_pending()) {
      break;
    }
    port::reschedule_if_needed();
  }
  std::memset(chunk, 0, sizeof chunk);
  if (total == 0 && wanted != 0) {
    return fail(Errno::kEFAULT);
  }
  return static_cast<std::int64_t>(total);
}

// ---- The log
// ---------------------------------------------------------------------------------------

SystemCallResult sys_syslog(int action, UserOut<char> buffer, std::int32_t size_bytes) {
  enum : std::uint8_t {
    kClose,
    kOpen,
    kRead,
    kReadAll,
    kReadClear,
    kClear,
    kConsoleOff,
    kConsoleOn,
    kConsoleLevel,
    kSizeUnread,
    kSizeBuffer,
  };
  constexpr std::size_t kRingBytes = 64 * 1024;
  TRY(require_capability(Capability::kSysAdmin));
  switch (action) {
    case kClose:
    case kOpen:
    case kClear:
    case kConsoleOff:
    case kConsoleOn:
      return 0;
    case kConsoleLevel:
      if (size_bytes < 1 || size_bytes > 8) {
        return fail(Errno::kEINVAL);
      }
      return 0;
    case kSizeUnread:
    case kSizeBuffer:
      return kRingBytes;
    case kRead:
    case kReadAll:
    case kReadClear:
      break;
    default:
      return fail(Errno::kEINVAL);
  }
  if (buffer.is_null() || size_bytes < 0) {
    return fail(Errno::kEINVAL);
  }
  const auto user = buffer.span(static_cast<std::size_t>(size_bytes));
  if (!user.in_range()) {
    return fail(Errno::kEFAULT);
  }
  std::uint64_t position = 0;
  std::size_t total = 0;
  char chunk[256];
  while (total < user.size()) {
    const std::size_t got =
        port::read_kernel_log(position, {chunk, std::min(sizeof chunk, user.size() - total)});
    if (got == 0) {
      break;
    }
    TRY(user.subspan(total, got).copy_out({chunk, got}));
    total += got;
  }
  return static_cast<std::int64_t>(total);
}

// ---- prctl and arch_prctl
// ------------------------------------------------------------------------------

namespace {

constexpr int kPrSetParentDeathSignal = 1, kPrGetParentDeathSignal = 2;
constexpr int kPrGetDumpable = 3, kPrSetDumpable = 4;
constexpr int kPrGetKeepCapabilities = 7, kPrSetKeepCapabilities = 8;
constexpr int kPrSetName = 15, kPrGetName = 16;
constexpr int kPrCapabilityBoundingRead = 23, kPrCapabilityBoundingDrop = 24;
constexpr int kPrGetSecureBits = 27, kPrSetSecureBits = 28;
constexpr int kPrSetTimerSlack = 29, kPrGetTimerSlack = 30;
constexpr int kPrSetChildSubreaper = 36, kPrGetChildSubreaper = 37;
constexpr int kPrSetNoNewPrivileges = 38, kPrGetNoNewPrivileges = 39;
constexpr int kPrSetThpDisable = 41, kPrGetThpDisable = 42;
constexpr int kPrCapabilityAmbient = 47;
constexpr std::int64_t kDefaultTimerSlackNs = 50'000;

SystemCallResult set_name(std::uint64_t address) {
  char name[kNameBytes] = {};
  const Result<std::size_t> length = UserString::from_value(address).copy_in(name);
  // A longer name is cut, not refused.
  if (!length && length.error() != Errno::kENAMETOOLONG) {
    return fail(length.error());
  }
  current_thread().set_name(std::string_view(name, length ? *length : kNameBytes - 1));
  return 0;
}

SystemCallResult get_name(std::uint64_t address) {
  char name[kNameBytes];
  current_thread().get_name(name);
  return done(UserSpan<char, Direction::kOut>::from_value(address, kNameBytes).copy_out(name));
}

SystemCallResult put_int(std::uint64_t address, std::int32_t value) {
  return done(UserOut<std::int32_t>::from_value(address).put(value));
}

}  // namespace

SystemCallResult sys_prctl(int option, RawArgument argument2, RawArgument argument3,
                           RawArgument argument4, RawArgument argument5) {
  Thread& thread = current_thread();
  Process& process = current_process();
  const std::uint64_t value = argument2.value;
  const bool has_rest = (argument3.value | argument4.value | argument5.value) != 0;
  switch (option) {
    case kPrSetParentDeathSignal:
      return done(set_parent_death_signal(static_cast<int>(value)));
    case kPrGetParentDeathSignal:
      return put_int(value, thread.parent_death_signal);
    case kPrGetDumpable:
      return process.dumpable.load() ? 1 : 0;
    case kPrSetDumpable:
      if (value > 1) {
        return fail(Errno::kEINVAL);
      }
      process.dumpable.store(value == 1);
      return 0;
    case kPrGetKeepCapabilities:
      return thread.keep_capabilities ? 1 : 0;
    case kPrSetKeepCapabilities:
      if (value > 1) {
        return fail(Errno::kEINVAL);
      }
      thread.keep_capabilities = value == 1;
      return 0;
    case kPrSetName:
      return set_name(value);
    case kPrGetName:
      return get_name(value);
    case kPrCapabilityBoundingRead:
      if (value >= kCapabilityCount) {
        return fail(Errno::kEINVAL);
      }
      return (current_identity().bounding >> value & 1) != 0 ? 1 : 0;
    case kPrCapabilityBoundingDrop:
      return done(drop_bounding_capability(
          static_cast<unsigned>(std::min<std::uint64_t>(value, UINT32_MAX))));
    case kPrGetSecureBits:
      return current_identity().secure_bits;
    case kPrSetSecureBits:
      return done(set_secure_bits(static_cast<std::uint32_t>(value)));
    case kPrSetTimerSlack:
      return 0;  // timers here have no slack
    case kPrGetTimerSlack:
      return kDefaultTimerSlackNs;
    case kPrSetChildSubreaper:
      set_child_subreaper(value != 0);
      return 0;
    case kPrGetChildSubreaper:
      return put_int(value, is_child_subreaper() ? 1 : 0);
    case kPrSetNoNewPrivileges:
      if (value != 1 || has_rest) {
        return fail(Errno::kEINVAL);
      }
      thread.no_new_privileges = true;
      return 0;
    case kPrGetNoNewPrivileges:
      if (value != 0 || has_rest) {
        return fail(Errno::kEINVAL);
      }
      return thread.no_new_privileges ? 1 : 0;
    case kPrGetThpDisable:
      return value != 0 || has_rest ? SystemCallResult(fail(Errno::kEINVAL)) : 0;
    case kPrSetThpDisable:
      return has_rest ? SystemCallResult(fail(Errno::kEINVAL)) : 0;
    case kPrCapabilityAmbient:
      return number(
          change_ambient(static_cast<unsigned>(value), static_cast<unsigned>(argument3.value)));
    default:
      return fail(Errno::kEINVAL);
  }
}

SystemCallResult sys_arch_prctl(int option, RawArgument argument) {
  constexpr int kSetGs = 0x1001;
  constexpr int kSetFs = 0x1002;
  constexpr int kGetFs = 0x1003;
  constexpr int kGetGs = 0x1004;
  switch (option) {
    case kSetFs:
    case kSetGs:
      if (argument.value >= kUserLimit) {
        return fail(Errno::kEPERM);
      }
      if (option == kSetFs) {
        port::set_user_fs_base(argument.value);
      } else {
        port::set_user_gs_base(argument.value);
      }
      return 0;
    case kGetFs:
      return done(UserOut<std::uint64_t>::from_value(argument.value).put(port::user_fs_base()));
    case kGetGs:
      return done(UserOut<std::uint64_t>::from_value(argument.value).put(port::user_gs_base()));
    default:
      return fail(Errno::kEINVAL);
  }
}

// ---- Power
// -----------------------------------------------------------------------------------------

SystemCallResult sys_reboot(std::uint32_t magic, std::uint32_t magic2, std::uint32_t command,
                            UserAddress) {
  // reboot(2): the second magic number may be one of four dates.
  constexpr std::uint32_t kMagic = 0xfee1dead;
  constexpr std::uint32_t kMagic2[] = {672274793, 85072278, 369367448, 537993216};
  constexpr std::uint32_t kRestart = 0x01234567;
  constexpr std::uint32_t kHalt = 0xcdef0123;
  constexpr std::uint32_t kPowerOff = 0x4321fedc;
  constexpr std::uint32_t kRestart2 = 0xa1b2c3d4;
  constexpr std::uint32_t kCtrlAltDelOn = 0x89abcdef;
  constexpr std::uint32_t kCtrlAltDelOff = 0;
  TRY(require_capability(Capability::kSysBoot));
  if (magic != kMagic || std::ranges::find(kMagic2, magic2) == std::end(kMagic2)) {
    return fail(Errno::kEINVAL);
  }
  switch (command) {
    case kPowerOff:
      port::power_off();
    case kHalt:
      port::halt();
    case kRestart:
    case kRestart2:
      port::reboot();
    case kCtrlAltDelOn:
    case kCtrlAltDelOff:
      return 0;
    default:
      return fail(Errno::kEINVAL);
  }
}

// There is no network: what a kernel without any address family says.
SystemCallResult sys_socket(int, int, int) { return fail(Errno::kEAFNOSUPPORT); }
SystemCallResult sys_socketpair(int, int, int, UserOut<DescriptorPair>) {
  return fail(Errno::kEAFNOSUPPORT);
}

}  // namespace holstein
