// Search and rules of the exception table.
#include "uaccess/extable.h"

#include "lib/address.h"
#include "lib/panic.h"
#include "uaccess/config.h"

// The linker's names for the two ends of the section.
extern "C" {
[[gnu::visibility("hidden")]] extern const holstein::ExtableEntry __start_uaccess_extable[];
[[gnu::visibility("hidden")]] extern const holstein::ExtableEntry __stop_uaccess_extable[];
}

namespace holstein {
namespace {

static_assert(UACCESS_USER_LIMIT == kUserLimit);
static_assert(UACCESS_PAGE_SIZE == kPageSize);

// Page-fault error code, Intel SDM volume 3, 4.7.
constexpr std::uint64_t kErrorWrite = 1 << 1;
constexpr std::uint64_t kErrorUser = 1 << 2;
constexpr std::uint64_t kErrorReserved = 1 << 3;
constexpr std::uint64_t kErrorFetch = 1 << 4;

constexpr std::uint64_t kRflagsAc = 1 << 18;

// Without AC the window was not open: somebody jumped into the middle of a routine.
bool window_was_open(std::uint64_t rflags) {
  return uaccess_smap_enabled == 0 || (rflags & kRflagsAc) != 0;
}

constexpr bool is_canonical(std::uint64_t address) { return VirtAddr(address).is_canonical(); }

// By number and not by pointer: the two ends are different objects to the compiler.
std::size_t entry_count() {
  return (reinterpret_cast<std::uintptr_t>(__stop_uaccess_extable) -
          reinterpret_cast<std::uintptr_t>(__start_uaccess_extable)) /
         sizeof(ExtableEntry);
}

bool is_known(const ExtableEntry& entry) {
  if (entry.reserved != 0) return false;
  switch (entry.kind) {
    case ExtableKind::kCopyIn:
    case ExtableKind::kCopyOut:
    case ExtableKind::kString:
    case ExtableKind::kAtomic:
      return entry.operand == UserOperand::kRdi || entry.operand == UserOperand::kRsi;
    case ExtableKind::kTrapped:
      return entry.operand == UserOperand::kNone;
  }
  return false;
}

bool allows(ExtableKind kind, std::uint64_t error_code) {
  const bool is_write = (error_code & kErrorWrite) != 0;
  switch (kind) {
    case ExtableKind::kCopyIn:
    case ExtableKind::kString:
      return !is_write;
    case ExtableKind::kCopyOut:
    case ExtableKind::kAtomic:
      return is_write;
    case ExtableKind::kTrapped:
      return false;
  }
  return false;
}

}  // namespace

std::span<const ExtableEntry> uaccess_extable() { return {__start_uaccess_extable, entry_count()}; }

const ExtableEntry* extable_find(std::span<const ExtableEntry> table, std::uint64_t rip) {
  std::size_t begin = 0;
  std::size_t end = table.size();
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    const std::uint64_t insn = table[middle].insn();
    if (insn == rip) return &table[middle];
    if (insn < rip) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return nullptr;
}

std::optional<std::uint64_t> uaccess_fixup(const KernelPageFault& fault) {
  const ExtableEntry* entry = extable_find(uaccess_extable(), fault.rip);
  if (entry == nullptr) return std::nullopt;
  // The page at the limit counts as user space: it is where masked addresses go.
  if (fault.address >= kUserLimit + kPageSize) return std::nullopt;
  if ((fault.error_code & (kErrorUser | kErrorReserved | kErrorFetch)) != 0) return std::nullopt;
  if (!allows(entry->kind, fault.error_code)) return std::nullopt;
  if (!window_was_open(fault.rflags)) return std::nullopt;
  return entry->fixup();
}

std::optional<std::uint64_t> uaccess_fixup(const KernelGeneralProtection& fault) {
  const ExtableEntry* entry = extable_find(uaccess_extable(), fault.rip);
  if (entry == nullptr) return std::nullopt;
  if (entry->kind == ExtableKind::kTrapped) return entry->fixup();
  const std::uint64_t user = entry->operand == UserOperand::kRdi ? fault.rdi : fault.rsi;
  // The last byte of a word may be the one that is not canonical.
  if (is_canonical(user) && is_canonical(user + 7)) return std::nullopt;
  if (!window_was_open(fault.rflags)) return std::nullopt;
  return entry->fixup();
}

const char* extable_problem(std::span<const ExtableEntry> table, std::uint64_t text_begin,
                            std::uint64_t text_end) {
  if (table.empty()) return "it is empty";
  std::uint64_t previous = 0;
  for (const ExtableEntry& entry : table) {
    const std::uint64_t insn = entry.insn();
    const std::uint64_t fixup = entry.fixup();
    if (insn < text_begin || insn >= text_end) return "an instruction lies outside the code";
    if (fixup < text_begin || fixup >= text_end) return "a fixup lies outside the code";
    if (fixup == insn) return "a fixup is its own instruction";
    if (insn == previous) return "an instruction is entered twice";
    if (insn < previous) return "it is not sorted";
    if (!is_known(entry)) return "an entry is of no known kind";
    previous = insn;
  }
  return nullptr;
}

void uaccess_verify_extable(std::uint64_t text_begin, std::uint64_t text_end) {
  const char* problem = extable_problem(uaccess_extable(), text_begin, text_end);
  if (problem != nullptr) {
    panic("exception table of %zu entries: expected a sorted one, found that %s", entry_count(),
          problem);
  }
}

}  // namespace holstein
