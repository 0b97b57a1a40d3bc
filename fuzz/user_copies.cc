// Every routine that touches user memory, in every form, against real faults and a byte-wise model.
#include <memory>

#include "fuzz/user_memory.h"
#include "tests/host/uaccess/fault_handler.h"
#include "uaccess/border.h"
#include "uaccess/config.h"

namespace holstein::fuzz {
namespace {

constexpr std::size_t kKernelBytes = 3 * kPageSize;
constexpr std::size_t kMargin = 64;
constexpr std::uint8_t kGuard = 0xa5;

struct Kernel {
  std::uint8_t bytes[kMargin + kKernelBytes + kMargin];
  std::uint8_t expected[sizeof(bytes)];

  void reset() {
    std::memset(bytes, kGuard, sizeof(bytes));
    std::memset(expected, kGuard, sizeof(expected));
  }
  std::uint8_t* at(std::size_t offset) { return bytes + kMargin + offset; }
  std::uint8_t* expected_at(std::size_t offset) { return expected + kMargin + offset; }
  bool agrees() const { return std::memcmp(bytes, expected, sizeof(bytes)) == 0; }
};

UserMemory& user() {
  static UserMemory memory;
  return memory;
}
Kernel kernel;

// What border:: is handed: a checked address and a length that goes with it.
struct Range {
  std::uint64_t address;
  std::size_t bytes;
};

Range choose_range(Input& input) {
  const std::uint64_t address = user().choose_address(input);
  const std::uint64_t bytes = UserMemory::choose_length(input, kKernelBytes);
  // The length is bounded by the kernel's buffer, whatever the program said.
  return {checked_user_address(address, bytes),
          static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kKernelBytes))};
}

void copy_in(Input& input) {
  const Range range = choose_range(input);
  const std::size_t offset = input.below(kKernelBytes - range.bytes + 1);
  const bool is_over = (input.byte() & 1) != 0;
  const std::size_t expected = user().accessible(range.address, range.bytes, PROT_READ);
  const std::size_t done =
      border::copy_in(kernel.at(offset), range.address, range.bytes,
                      is_over ? border::Fetch::kDataOver : border::Fetch::kData);
  FUZZ_CHECK(done == expected);
  if (done != 0) {
    std::memcpy(kernel.expected_at(offset), &user().model_at(range.address), done);
  }
  if (!is_over) {
    std::memset(kernel.expected_at(offset) + done, 0, range.bytes - done);
  }
}

void copy_out(Input& input) {
  const Range range = choose_range(input);
  const std::size_t offset = input.below(kKernelBytes - range.bytes + 1);
  const std::size_t expected = user().accessible(range.address, range.bytes, PROT_WRITE);
  const std::size_t done = border::copy_out(range.address, kernel.at(offset), range.bytes);
  FUZZ_CHECK(done == expected);
  if (done != 0) {
    std::memcpy(&user().model_at(range.address), kernel.at(offset), done);
  }
}

void clear(Input& input) {
  const Range range = choose_range(input);
  const std::size_t expected = user().accessible(range.address, range.bytes, PROT_WRITE);
  const std::size_t done = border::clear(range.address, range.bytes);
  FUZZ_CHECK(done == expected);
  if (done != 0) {
    std::memset(&user().model_at(range.address), 0, done);
  }
}

void single_access(Input& input) {
  const std::size_t bytes = std::size_t{1} << input.below(4);
  const std::uint64_t address = checked_user_address(user().choose_address(input), bytes);
  if ((input.byte() & 1) != 0) {
    const auto value = input.take<std::uint64_t>();
    const bool done = border::put(address, value, bytes);
    FUZZ_CHECK(done == (user().accessible(address, bytes, PROT_WRITE) == bytes));
    if (done) {
      std::memcpy(&user().model_at(address), &value, bytes);
    }
    return;
  }
  const RawValue got = border::get(address, bytes, border::Fetch::kData);
  const bool is_there = user().accessible(address, bytes, PROT_READ) == bytes;
  FUZZ_CHECK((got.fault == 0) == is_there);
  std::uint64_t expected = 0;
  if (is_there) {
    std::memcpy(&expected, &user().model_at(address), bytes);
  }
  FUZZ_CHECK(got.value == expected);
}

void compare_exchange(Input& input) {
  const std::size_t bytes = (input.byte() & 1) != 0 ? 4 : 8;
  const std::uint64_t address =
      checked_user_address(user().choose_address(input) / bytes * bytes, bytes);
  if (address == kBadUserAddress) {
    return;  // the caller must not come with it: it is not aligned
  }
  const bool is_there = user().accessible(address, bytes, PROT_WRITE) == bytes;
  std::uint64_t current = 0;
  if (is_there) {
    std::memcpy(&current, &user().model_at(address), bytes);
  }
  const std::uint64_t wanted = (input.byte() & 1) != 0 ? current : input.take<std::uint32_t>();
  const auto desired = input.take<std::uint64_t>();
  const RawValue got = border::compare_exchange(address, wanted, desired, bytes);
  FUZZ_CHECK((got.fault == 0) == is_there);
  FUZZ_CHECK(got.value == current);
  if (is_there && current == wanted) {
    std::memcpy(&user().model_at(address), &desired, bytes);
  }
}

void string(Input& input) {
  const std::uint64_t address = checked_user_address(user().choose_address(input), 1);
  const std::size_t limit = input.below(kKernelBytes + 1);
  const std::size_t offset = input.below(kKernelBytes - limit + 1);
  std::size_t length = 0;
  StringEnd end = StringEnd::kUnterminated;
  if (address >= kUserLimit) {
    end = StringEnd::kFault;  // even where there is no room for a byte
  }
  for (; end == StringEnd::kUnterminated && length < limit; ++length) {
    if (!user().allows(address + length, PROT_READ)) {
      end = StringEnd::kFault;
      break;
    }
    if (user().model_at(address + length) == 0) {
      end = StringEnd::kTerminated;
      break;
    }
  }
  if ((input.byte() & 1) != 0) {
    const RawString found = border::string_length(address, limit);
    FUZZ_CHECK(found.end == end && found.length == length);
    return;
  }
  auto* const to = reinterpret_cast<char*>(kernel.at(offset));
  const RawString found = border::string_copy_in(to, address, limit);
  FUZZ_CHECK(found.end == end && found.length == length);
  if (length != 0) {
    FUZZ_CHECK(std::memcmp(to, &user().model_at(address), length) == 0);
  }
  FUZZ_CHECK(end != StringEnd::kTerminated || to[length] == '\0');
  // Behind the string and its NUL nothing is touched.
  std::memcpy(kernel.expected_at(offset), to, length + (end == StringEnd::kTerminated ? 1 : 0));
}

void run(Input& input) {
  testing::install_fault_handler(testing::OtherFaults::kPreviousHandler);
  constexpr UaccessConfig kForms[] = {{LongCopy::kRepWords, SIZE_MAX},
                                      {LongCopy::kRepWords, 0},
                                      {LongCopy::kRepBytes, 0},
                                      {LongCopy::kRepWords, 64}};
  uaccess_set_config_for_test(kForms[input.below(std::size(kForms))]);
  const std::uint8_t rights = input.byte();
  user().reset(rights, input.take<std::uint16_t>() % 5000);
  kernel.reset();
  for (int steps = 0; steps < 32 && !input.empty(); ++steps) {
    switch (input.byte() % 6) {
      case 0:
        copy_in(input);
        break;
      case 1:
        copy_out(input);
        break;
      case 2:
        clear(input);
        break;
      case 3:
        single_access(input);
        break;
      case 4:
        compare_exchange(input);
        break;
      default:
        string(input);
    }
    FUZZ_CHECK(kernel.agrees());
  }
  FUZZ_CHECK(user().agrees());
}

}  // namespace
}  // namespace holstein::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  holstein::fuzz::Input input(data, bytes);
  holstein::fuzz::run(input);
  return 0;
}
