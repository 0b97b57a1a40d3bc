#include "kernel/syscalls/table.h"

#include <algorithm>

#include "kernel/syscalls/handlers.h"
#include "uaccess/speculation.h"

namespace holstein {
namespace {

constexpr SystemCall kSystemCalls[] = {
#define SYSTEM_CALL(number, name, handler) system_call<&handler>(number, name),
#include "kernel/syscalls/table.inc"
#undef SYSTEM_CALL
};

static_assert(std::ranges::is_sorted(kSystemCalls, {}, &SystemCall::number));
static_assert(std::ranges::adjacent_find(kSystemCalls, {}, &SystemCall::number) ==
              std::end(kSystemCalls));

// Index into kSystemCalls plus one by number; 0: no such call.
constexpr std::size_t kNumbers = 512;
static_assert(kSystemCalls[std::size(kSystemCalls) - 1].number < kNumbers);

struct NumberIndex {
  std::uint16_t entry[kNumbers] = {};
};

constexpr NumberIndex make_index() {
  NumberIndex index;
  for (std::size_t i = 0; i < std::size(kSystemCalls); ++i) {
    index.entry[kSystemCalls[i].number] = static_cast<std::uint16_t>(i + 1);
  }
  return index;
}
constexpr NumberIndex kIndex = make_index();

}  // namespace

std::span<const SystemCall> system_calls() { return kSystemCalls; }

const SystemCall* find_system_call(std::uint64_t number) {
  if (number >= kNumbers) {
    return nullptr;
  }
  const std::uint16_t entry = kIndex.entry[clamp_index(number, kNumbers)];
  return entry == 0 ? nullptr : &kSystemCalls[entry - 1];
}

}  // namespace holstein
