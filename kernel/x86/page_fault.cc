// Page faults (Intel SDM volume 3, 4.7): decoded, served, turned into signals, or reported.
#include "kernel/image.h"
#include "kernel/panic_report.h"
#include "kernel/x86/features.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/table_walk.h"
#include "kernel/x86/traps.h"
#include "lib/address.h"
#include "lib/boot_protocol.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "proc/oom.h"
#include "uaccess/extable.h"
#include "vm/address_space.h"
#include "vm/kmalloc.h"

namespace holstein::x86 {
namespace {

constexpr std::uint64_t kErrorPresent = 1 << 0;
constexpr std::uint64_t kErrorWrite = 1 << 1;
constexpr std::uint64_t kErrorUser = 1 << 2;
constexpr std::uint64_t kErrorReserved = 1 << 3;
constexpr std::uint64_t kErrorFetch = 1 << 4;

constexpr std::uint64_t kFlagsAlignmentCheck = 1 << 18;

constexpr int kSigKill = 9;
constexpr int kSigBus = 7;
constexpr int kSigSegv = 11;
constexpr int kSegvMapError = 1;
constexpr int kSegvAccessError = 2;
constexpr int kBusAddressError = 2;
constexpr int kSiKernel = 0x80;

constexpr std::uint64_t kPageFaultVector = 14;

FaultAccess access_of(std::uint64_t error_code) {
  if ((error_code & kErrorFetch) != 0) {
    return FaultAccess::kExecute;
  }
  return (error_code & kErrorWrite) != 0 ? FaultAccess::kWrite : FaultAccess::kRead;
}

const char* access_name(std::uint64_t error_code) {
  switch (access_of(error_code)) {
    case FaultAccess::kExecute:
      return "instruction fetch from";
    case FaultAccess::kWrite:
      return "write to";
    case FaultAccess::kRead:
      return "read of";
  }
  return "access to";
}

// What lies at a kernel address, for the report.
const char* describe_kernel_address(std::uint64_t address) {
  if (const char* region = heap_describe_address(VirtAddr(address)); region != nullptr) {
    return region;
  }
  if (is_kernel_text(address)) {
    return "kernel code";
  }
  if (address >= address_of(__rodata_start) && address < address_of(__rodata_end)) {
    return "kernel constants";
  }
  if (is_kernel_image(address)) {
    return "kernel data";
  }
  if (!VirtAddr(address).is_canonical()) {
    return "not a canonical address";
  }
  if (address < kPageSize) {
    return "null pointer";
  }
  if (address <= kUserLimit) {
    return "user memory";
  }
  if (address >= kDirectMapWindowStart && address < kDirectMapWindowEnd) {
    return "direct map";
  }
  if (address >= kHeapWindowStart && address < kHeapWindowEnd) {
    return "heap window, nothing is allocated there";
  }
  if (address >= kDeviceWindowStart && address < kDeviceWindowEnd) {
    return "device window";
  }
  if (address >= kFixedWindowStart && address < kFixedWindowEnd) {
    return "fixed window";
  }
  return "unused address space";
}

// Why the CPU refused, as far as error code and flags say.
const char* cause(const UserRegisters& registers, std::uint64_t error_code, std::uint64_t address) {
  if ((error_code & kErrorReserved) != 0) {
    return "a reserved bit is set in a page table";
  }
  if ((error_code & kErrorPresent) == 0) {
    return "not mapped";
  }
  if (address < kUserLimit) {
    if ((error_code & kErrorFetch) != 0) {
      return features.smep ? "SMEP: user page executed by the kernel" : "no-execute";
    }
    if (features.smap && (registers.rflags & kFlagsAlignmentCheck) == 0) {
      return "SMAP: user memory touched outside uaccess/";
    }
  }
  if ((error_code & kErrorFetch) != 0) {
    return "no-execute";
  }
  return (error_code & kErrorWrite) != 0 ? "read-only" : "no permission";
}

[[noreturn]] void report(const UserRegisters& registers, std::uint64_t error_code,
                         std::uint64_t address) {
  char entry_text[64] = "";
  if (const std::optional<Leaf> leaf = walk_tables(VirtAddr(address)); leaf.has_value()) {
    format_to(entry_text, ", entry %#lx at level %u", leaf->entry.bits(), leaf->level);
  }
  panic_with_registers(registers, "page fault: %s %#lx (%s): %s, error code %#lx%s",
                       access_name(error_code), address, describe_kernel_address(address),
                       cause(registers, error_code, address), error_code, entry_text);
}

UserFault signal_for(FaultOutcome outcome) {
  UserFault fault{};
  switch (outcome) {
    case FaultOutcome::kNoPermission:
      fault.signal = kSigSegv;
      fault.code = kSegvAccessError;
      break;
    case FaultOutcome::kBeyondFile:
      fault.signal = kSigBus;
      fault.code = kBusAddressError;
      break;
    case FaultOutcome::kOutOfMemory:
      fault.signal = kSigKill;
      fault.code = kSiKernel;
      break;
    case FaultOutcome::kResolved:
    case FaultOutcome::kNotMapped:
      fault.signal = kSigSegv;
      fault.code = kSegvMapError;
      break;
  }
  return fault;
}

}  // namespace

void user_page_fault(UserRegisters& registers, std::uint64_t error_code, std::uint64_t address) {
  if ((error_code & kErrorReserved) != 0) {
    report(registers, error_code, address);
  }
  FaultOutcome outcome = FaultOutcome::kNotMapped;
  if ((error_code & (kErrorPresent | kErrorUser)) == kErrorPresent) {
    // The processor reached for mapped memory on its own account, with the kernel's rights, and
    // SMAP stopped it (QEMU's far returns do so). Trying again would not end.
    outcome = FaultOutcome::kNoPermission;
  } else if (address < kUserLimit) {
    AddressSpace* space = current_address_space();
    HOLSTEIN_ASSERT(space != nullptr);
    outcome = space->handle_fault(VirtAddr(address), access_of(error_code));
    if (outcome == FaultOutcome::kResolved) {
      return;
    }
    if (outcome == FaultOutcome::kOutOfMemory) {
      // Either memory comes back and the instruction runs again, or SIGKILL is pending.
      handle_out_of_memory("page fault");
      return;
    }
  } else {
    // As Linux: whether a kernel address is mapped is none of the program's business.
    error_code |= kErrorPresent;
  }
  UserFault fault = signal_for(outcome);
  fault.address = address;
  fault.vector = kPageFaultVector;
  fault.error_code = error_code;
  fault.cr2 = address;
  user_fault(registers, fault);
}

void kernel_page_fault(UserRegisters& registers, std::uint64_t error_code, std::uint64_t address) {
  const std::optional<std::uint64_t> fixup =
      uaccess_fixup(KernelPageFault{.rip = registers.rip,
                                    .rflags = registers.rflags,
                                    .error_code = error_code,
                                    .address = address});
  if (!fixup.has_value()) {
    report(registers, error_code, address);
  }
  const bool can_sleep =
      (registers.rflags & kFlagsInterrupt) != 0 && spinlocks_held() == 0 && !port::in_interrupt();
  AddressSpace* space = can_sleep && address < kUserLimit ? current_address_space() : nullptr;
  if (space != nullptr) {
    sti();
    FaultOutcome outcome = space->handle_fault(VirtAddr(address), access_of(error_code));
    // Ends: either memory comes back, or this process is the one that has to go.
    while (outcome == FaultOutcome::kOutOfMemory && handle_out_of_memory("system call")) {
      outcome = space->handle_fault(VirtAddr(address), access_of(error_code));
    }
    cli();
    if (outcome == FaultOutcome::kResolved) {
      return;
    }
  }
  registers.rip = *fixup;
}

}  // namespace holstein::x86
