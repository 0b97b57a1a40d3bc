// /proc/holstein, which only debug kernels have: what tests that run inside need to see and to do.
//
//   check            a write gives the heap's spare pages back, then checks every invariant of the
//                    heap, the frames and all address spaces; the kernel panics where one is
//                    broken. EAGAIN: just now the memory of a process is being given back, or there
//                    is none to count references in.
//   double_fetch     an address in decimal, of which the kernel then reads a word twice: for the
//   test
//                    that such a mistake is noticed. A read gives how many have been found.
//   fail_allocation  "N" lets the Nth allocation from now fail, "N persistent" all after it too, in
//                    the writer and in what it forks from now on; "0" turns that off. A read gives
//                    the requests left until the next failure (0: off) and how many have failed.
#include "fs/port.h"
#include "fs/procfs_nodes.h"
#include "uaccess/fetch_recorder.h"
#include "uaccess/user_ptr.h"
#include "vm/frame.h"
#include "vm/kmalloc.h"
#include "vm/slab.h"
#include "vm/walker.h"

namespace holstein {
namespace {

// The number that `text` begins with, which is taken off. EINVAL.
Result<std::uint64_t> take_number(std::string_view& text) {
  constexpr std::uint64_t kLargest = 1ULL << 60;
  std::uint64_t value = 0;
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    value = value * 10 + static_cast<std::uint64_t>(text[digits++] - '0');
    if (value > kLargest) return fail(Errno::kEINVAL);
  }
  if (digits == 0) return fail(Errno::kEINVAL);
  text.remove_prefix(digits);
  return value;
}

}  // namespace

Result<void> store_check(std::string_view, const Credentials&) {
  slab_shrink_caches();
  validate_heap();
  validate_frames();
  if (!validate_all_address_spaces()) return fail(Errno::kEAGAIN);
  return {};
}

Result<void> generate_double_fetch(String& to) {
  return append_format(to, "%llu\n", static_cast<unsigned long long>(double_fetch_count()));
}

Result<void> store_double_fetch(std::string_view text, const Credentials&) {
  TRY_ASSIGN(const std::uint64_t address, take_number(text));
  const auto word = UserIn<std::uint32_t>::from_value(address);
  TRY_ASSIGN(const std::uint32_t first, word.get());
  TRY_ASSIGN(const std::uint32_t second, word.get());
  return first == second ? Result<void>() : fail(Errno::kEAGAIN);
}

Result<void> generate_fail_allocation(String& to) {
  const AllocationFailures state = allocation_failures();
  return append_format(to, "%llu %llu\n", static_cast<unsigned long long>(state.requests_left),
                       static_cast<unsigned long long>(state.failed));
}

Result<void> store_fail_allocation(std::string_view text, const Credentials&) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  TRY_ASSIGN(const std::uint64_t nth, take_number(text));
  const bool is_persistent = text == " persistent";
  if (!text.empty() && !is_persistent) return fail(Errno::kEINVAL);
  // Off first: the next line must not be the one that fails.
  allocation_fail_nth(0, false);
  port::let_caller_allocations_fail(nth != 0);
  allocation_fail_nth(nth, is_persistent);
  return {};
}

}  // namespace holstein
