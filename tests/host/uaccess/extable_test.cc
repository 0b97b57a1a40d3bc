// Is the table whole and sorted, and is a fixup given for the faults it is meant for and no others?
#include "uaccess/extable.h"

#include <initializer_list>
#include <set>
#include <utility>

#include "gtest/gtest.h"
#include "lib/address.h"
#include "uaccess/config.h"

// The linker's names for the code of this program.
extern "C" const char __executable_start[];
extern "C" const char etext[];

namespace holstein::testing {
namespace {

constexpr std::uint64_t kAc = 1 << 18;
constexpr std::uint64_t kPresent = 1 << 0;
constexpr std::uint64_t kWrite = 1 << 1;
constexpr std::uint64_t kUser = 1 << 2;
constexpr std::uint64_t kReserved = 1 << 3;
constexpr std::uint64_t kFetch = 1 << 4;
constexpr std::uint64_t kProtectionKey = 1 << 5;

std::uint64_t text_begin() { return reinterpret_cast<std::uint64_t>(__executable_start); }
std::uint64_t text_end() { return reinterpret_cast<std::uint64_t>(etext); }

bool writes(const ExtableEntry& entry) {
  return entry.kind == ExtableKind::kCopyOut || entry.kind == ExtableKind::kAtomic;
}

std::optional<std::uint64_t> page_fault(const ExtableEntry& entry, std::uint64_t error_code,
                                        std::uint64_t address = 0x1000,
                                        std::uint64_t rflags = kAc) {
  return uaccess_fixup(KernelPageFault{
      .rip = entry.insn(), .rflags = rflags, .error_code = error_code, .address = address});
}

// A table of one's own, in one place: its 32-bit offsets lead to made-up addresses near it.
using Row = std::pair<std::uint64_t, std::uint64_t>;
ExtableEntry g_table[4];

std::span<const ExtableEntry> make_table(std::initializer_list<Row> rows) {
  ExtableEntry* entry = g_table;
  for (const auto& [insn, fixup] : rows) {
    *entry = {.insn_offset = static_cast<std::int32_t>(
                  insn - reinterpret_cast<std::uint64_t>(&entry->insn_offset)),
              .fixup_offset = static_cast<std::int32_t>(
                  fixup - reinterpret_cast<std::uint64_t>(&entry->fixup_offset)),
              .kind = ExtableKind::kCopyIn,
              .operand = UserOperand::kRsi,
              .reserved = 0};
    ++entry;
  }
  return {g_table, rows.size()};
}

TEST(Extable, TheLinkedTableIsSound) {
  EXPECT_EQ(extable_problem(uaccess_extable(), text_begin(), text_end()), nullptr);
  uaccess_verify_extable(text_begin(), text_end());
  // Every routine has entries: 6 copies, 2 clears, 4 gets, 4 puts, 2 exchanges, 2 strings.
  EXPECT_GE(uaccess_extable().size(), 30u);
}

TEST(Extable, EveryEntryIsFoundAndItsNeighboursAreNot) {
  std::set<std::uint64_t> instructions;
  for (const ExtableEntry& entry : uaccess_extable()) instructions.insert(entry.insn());
  for (const ExtableEntry& entry : uaccess_extable()) {
    EXPECT_EQ(extable_find(uaccess_extable(), entry.insn()), &entry);
    for (const std::uint64_t near : {entry.insn() - 1, entry.insn() + 1}) {
      if (!instructions.contains(near)) {
        EXPECT_EQ(extable_find(uaccess_extable(), near), nullptr);
      }
    }
  }
  EXPECT_EQ(extable_find(uaccess_extable(), 0), nullptr);
  EXPECT_EQ(extable_find(uaccess_extable(), UINT64_MAX), nullptr);
  EXPECT_EQ(extable_find({}, 1), nullptr);
}

TEST(Extable, AFaultInTheDeclaredDirectionAtAUserAddressHasAFixup) {
  for (const ExtableEntry& entry : uaccess_extable()) {
    const std::uint64_t right = writes(entry) ? kWrite : 0;
    for (const std::uint64_t address : {std::uint64_t{0}, std::uint64_t{0x1234}, kUserLimit - 1}) {
      EXPECT_EQ(page_fault(entry, right, address), entry.fixup());
      EXPECT_EQ(page_fault(entry, right | kPresent, address), entry.fixup());
      EXPECT_EQ(page_fault(entry, right | kPresent | kProtectionKey, address), entry.fixup());
    }
    // Where masked addresses go.
    EXPECT_EQ(page_fault(entry, right, kUserLimit), entry.fixup());
  }
}

TEST(Extable, EveryOtherPageFaultIsTheKernelsOwn) {
  for (const ExtableEntry& entry : uaccess_extable()) {
    const std::uint64_t right = writes(entry) ? kWrite : 0;
    EXPECT_FALSE(page_fault(entry, right ^ kWrite).has_value()) << "wrong direction";
    EXPECT_FALSE(page_fault(entry, right | kUser).has_value()) << "user mode";
    EXPECT_FALSE(page_fault(entry, right | kPresent | kReserved).has_value()) << "reserved bit";
    EXPECT_FALSE(page_fault(entry, right | kFetch).has_value()) << "instruction fetch";
    for (const std::uint64_t address :
         {std::uint64_t{0x0000800000000000}, std::uint64_t{0xffff800000000000},
          std::uint64_t{0xffffffff80000000}, UINT64_MAX}) {
      EXPECT_FALSE(page_fault(entry, right, address).has_value()) << "kernel address";
    }
    EXPECT_FALSE(uaccess_fixup(KernelPageFault{.rip = entry.fixup() + 1,
                                               .rflags = kAc,
                                               .error_code = right,
                                               .address = 0x1000})
                     .has_value())
        << "instruction without an entry";
  }
}

TEST(Extable, WithSmapAFaultOutsideTheWindowIsTheKernelsOwn) {
  uaccess_smap_enabled = 1;
  for (const ExtableEntry& entry : uaccess_extable()) {
    const std::uint64_t right = writes(entry) ? kWrite : 0;
    EXPECT_TRUE(page_fault(entry, right, 0x1000, kAc).has_value());
    EXPECT_FALSE(page_fault(entry, right, 0x1000, 0).has_value());
  }
  uaccess_smap_enabled = 0;
  for (const ExtableEntry& entry : uaccess_extable()) {
    EXPECT_TRUE(page_fault(entry, writes(entry) ? kWrite : 0, 0x1000, 0).has_value());
  }
}

TEST(Extable, GeneralProtectionHasAFixupOnlyForANonCanonicalUserOperand) {
  for (const ExtableEntry& entry : uaccess_extable()) {
    const bool in_rdi = entry.operand == UserOperand::kRdi;
    const auto fault = [&](std::uint64_t user, std::uint64_t kernel) {
      return uaccess_fixup(KernelGeneralProtection{.rip = entry.insn(),
                                                   .rflags = kAc,
                                                   .rdi = in_rdi ? user : kernel,
                                                   .rsi = in_rdi ? kernel : user});
    };
    constexpr std::uint64_t kHole = 0x0000800000000000;
    constexpr std::uint64_t kKernel = 0xffff800000001000;
    EXPECT_EQ(fault(kHole, kKernel), entry.fixup());
    EXPECT_EQ(fault(kHole - 1, kKernel), entry.fixup());  // a word that reaches into the hole
    EXPECT_EQ(fault(0x00ffffffffffffff, kKernel), entry.fixup());
    EXPECT_FALSE(fault(0x1000, kKernel).has_value());
    EXPECT_FALSE(fault(0x1000, kHole).has_value()) << "the kernel's operand is at fault";
    EXPECT_FALSE(fault(kKernel, kKernel).has_value());
  }
}

TEST(Extable, ProblemsAreNamed) {
  const std::uint64_t text = align_down(reinterpret_cast<std::uint64_t>(g_table), kPageSize);
  const std::uint64_t end = text + kPageSize;
  EXPECT_EQ(extable_problem(make_table({{text, text + 1}, {text + 8, end - 1}}), text, end),
            nullptr);
  EXPECT_STREQ(extable_problem({}, text, end), "it is empty");
  EXPECT_STREQ(extable_problem(make_table({{text + 8, text + 1}, {text, text + 1}}), text, end),
               "it is not sorted");
  EXPECT_STREQ(extable_problem(make_table({{text + 8, text + 1}, {text + 8, text + 1}}), text, end),
               "an instruction is entered twice");
  EXPECT_STREQ(extable_problem(make_table({{text - 1, text}}), text, end),
               "an instruction lies outside the code");
  EXPECT_STREQ(extable_problem(make_table({{end, text}}), text, end),
               "an instruction lies outside the code");
  EXPECT_STREQ(extable_problem(make_table({{text, end}}), text, end),
               "a fixup lies outside the code");
  EXPECT_STREQ(extable_problem(make_table({{text, text}}), text, end),
               "a fixup is its own instruction");
  const auto table = make_table({{text, text + 1}});
  g_table[0].kind = static_cast<ExtableKind>(77);
  EXPECT_STREQ(extable_problem(table, text, end), "an entry is of no known kind");
  make_table({{text, text + 1}});
  g_table[0].operand = UserOperand::kNone;
  EXPECT_STREQ(extable_problem(table, text, end), "an entry is of no known kind");
  g_table[0].kind = ExtableKind::kTrapped;
  EXPECT_EQ(extable_problem(table, text, end), nullptr);
}

}  // namespace
}  // namespace holstein::testing
