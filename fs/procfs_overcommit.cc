// /proc/sys/vm/overcommit_* and the two reserves: the settings of vm/commit.h.
#include <algorithm>

#include "fs/procfs_nodes.h"
#include "vm/commit.h"

namespace holstein {
namespace {

constexpr bool is_blank(char character) {
  return character == ' ' || (character >= '\t' && character <= '\r');
}

// One number of at most `largest`, blanks around it. EINVAL.
Result<std::uint64_t> parse_setting(std::string_view text, std::uint64_t largest) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  std::uint64_t value = 0;
  std::size_t digits = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    if (__builtin_mul_overflow(value, 10U, &value) ||
        __builtin_add_overflow(value, static_cast<unsigned>(text[digits] - '0'), &value)) {
      return fail(Errno::kEINVAL);
    }
  }
  if (digits == 0 || value > largest || !std::ranges::all_of(text.substr(digits), is_blank)) {
    return fail(Errno::kEINVAL);
  }
  return value;
}

}  // namespace

Result<void> generate_commit_setting(CommitSetting which, String& to) {
  return append_format(to, "%llu\n", static_cast<unsigned long long>(commit_setting(which)));
}

Result<void> store_commit_setting(CommitSetting which, std::string_view text) {
  std::uint64_t largest = UINT64_MAX;
  if (which == CommitSetting::kMode) {
    largest = static_cast<std::uint64_t>(OvercommitMode::kStrict);
  } else if (which == CommitSetting::kRatioPercent) {
    largest = INT32_MAX;
  }
  TRY_ASSIGN(const std::uint64_t value, parse_setting(text, largest));
  set_commit_setting(which, value);
  return {};
}

}  // namespace holstein
