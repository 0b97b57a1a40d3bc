// What system calls take in: lists of segments, strings, structures that grow, the arrays of exec,
// the registers of a signal frame.
#include "proc/arguments.h"

#include <vector>

#include "fuzz/user_memory.h"
#include "proc/signal_frame.h"
#include "tests/host/uaccess/fault_handler.h"
#include "uaccess/extensible.h"
#include "uaccess/io_iterator.h"
#include "uaccess/iovec.h"

namespace holstein::fuzz {
namespace {

UserMemory& user() {
  static UserMemory memory;
  return memory;
}

// Writes `bytes` to the model and to user memory, which is still writable.
void store(std::size_t offset, const void* bytes, std::size_t count) {
  std::memcpy(user().model() + offset, bytes, count);
  std::memcpy(reinterpret_cast<void*>(user().address() + offset), bytes, count);
}

// A list at the start of a page, segments anywhere, and bytes moved through them in pieces.
void segments(Input& input) {
  const std::size_t count = input.below(24);
  const bool is_at_end = (input.byte() & 1) != 0;  // the list ends with user memory
  const std::size_t offset =
      is_at_end ? kUserBytes - count * sizeof(Iovec) + input.below(3) * 8 : input.below(256);
  std::vector<Iovec> entries(count);
  for (Iovec& entry : entries) {
    entry = {.base = user().choose_address(input),
             .length = UserMemory::choose_length(input, kPageSize)};
  }
  const std::size_t fits =
      std::min(count * sizeof(Iovec), kUserBytes - std::min(offset, kUserBytes));
  if (fits != 0) {
    store(offset, entries.data(), fits);
  }
  const std::size_t bytes = input.below(2 * kPageSize);
  user().protect(input.byte());
  std::vector<UserBytesOut> imported(std::max<std::size_t>(count, 1));
  const auto list =
      UserSpan<Iovec, Direction::kIn>::from_registers(user().address() + offset, count);
  const Result<std::size_t> total = import_iovec<Direction::kOut>(list, imported);
  const bool is_readable = user().accessible(user().address() + offset, count * sizeof(Iovec),
                                             PROT_READ) == count * sizeof(Iovec);
  bool is_negative = false;
  bool is_outside = false;
  std::uint64_t sum = 0;
  for (const Iovec& entry : entries) {
    is_negative = is_negative || entry.length > INT64_MAX;
    is_outside = is_outside || !user_range_ok(entry.base, entry.length);
    sum = std::min<std::uint64_t>(kMaxTransferBytes,
                                  sum + std::min<std::uint64_t>(entry.length, kMaxTransferBytes));
  }
  if (!is_readable) {
    FUZZ_CHECK(!total && total.error() == Errno::kEFAULT);
    return;
  }
  if (is_negative || is_outside) {
    FUZZ_CHECK(!total && total.error() == (is_negative ? Errno::kEINVAL : Errno::kEFAULT));
    return;
  }
  FUZZ_CHECK(total && *total == sum);
  IoSink sink = IoSink::to_user(std::span<const UserBytesOut>(imported.data(), count));
  FUZZ_CHECK(sink.remaining() == sum);
  // Byte by byte what a sink must do.
  std::vector<std::byte> data(bytes);
  for (std::size_t i = 0; i < bytes; ++i) {
    data[i] = static_cast<std::byte>(i * 3 + 1);
  }
  std::size_t expected = 0;
  bool faults = false;
  for (const Iovec& entry : entries) {
    for (std::uint64_t i = 0; i < entry.length && expected < bytes && !faults; ++i) {
      if (!user().allows(entry.base + i, PROT_WRITE)) {
        faults = true;
        break;
      }
      user().model_at(entry.base + i) = static_cast<std::uint8_t>(data[expected++]);
    }
  }
  std::size_t done = 0;
  while (done < bytes) {
    const std::size_t piece = std::min<std::size_t>(bytes - done, 1 + input.below(5000));
    const std::size_t moved = sink.write(std::span(data).subspan(done, piece));
    done += moved;
    if (moved < piece) {
      break;
    }
  }
  FUZZ_CHECK(done == expected && sink.faulted() == faults);
}

void growing_structure(Input& input) {
  struct Versioned {
    std::uint64_t words[4];
  };
  const std::uint64_t address = user().choose_address(input);
  const std::size_t size = input.below(2 * kPageSize);
  user().protect(input.byte());
  const Result<Versioned> got = copy_extensible<Versioned>(address, size);
  const bool is_there = size == 0 || (user_range_ok(address, size) &&
                                      user().accessible(address, size, PROT_READ) == size);
  if (got) {
    FUZZ_CHECK(is_there);
    Versioned expected = {};
    if (size != 0) {
      std::memcpy(&expected, &user().model_at(address), std::min(size, sizeof(expected)));
    }
    FUZZ_CHECK(std::memcmp(&*got, &expected, sizeof(expected)) == 0);
    for (std::size_t i = sizeof(expected); i < size; ++i) {
      FUZZ_CHECK(user().model_at(address + i) == 0);
    }
  } else {
    FUZZ_CHECK(got.error() == Errno::kE2BIG || (!is_there && got.error() == Errno::kEFAULT));
  }
}

// argv or envp: an array of addresses, ended by 0.
void exec_strings(Input& input) {
  const std::size_t count = input.below(12);
  std::vector<std::uint64_t> array(count);
  for (std::uint64_t& address : array) {
    address = user().choose_address(input);
  }
  array.push_back((input.byte() & 3) != 0 ? 0 : user().choose_address(input));
  const std::size_t offset = (input.byte() & 1) != 0 ? kUserBytes - array.size() * 8 : 0;
  store(offset, array.data(), array.size() * 8);
  user().protect(input.byte());
  const std::uint64_t limits[] = {0, 4 * kPageSize, 1 << 20, 8 << 20};
  ProgramArguments arguments(limits[input.below(std::size(limits))]);
  const std::uint64_t at =
      (input.byte() & 7) != 0 ? user().address() + offset : user().choose_address(input);
  const Result<void> done = arguments.read_arguments(at);
  if (!done) {
    FUZZ_CHECK(done.error() == Errno::kEFAULT || done.error() == Errno::kE2BIG);
    return;
  }
  FUZZ_CHECK(arguments.ensure_first_argument().has_value());
  // Every string is whole, and their number is the number of NULs.
  std::size_t nuls = 0;
  char last = '\0';
  FUZZ_CHECK(arguments.arguments()
                 .for_each_piece(0,
                                 [&](std::span<const char> piece) -> Result<void> {
                                   nuls +=
                                       static_cast<std::size_t>(std::ranges::count(piece, '\0'));
                                   last = piece.back();
                                   return {};
                                 })
                 .has_value());
  FUZZ_CHECK(nuls == arguments.arguments().count() && last == '\0');
  const std::string option = input.text(20);
  if (arguments.put_interpreter_first("/bin/sh", option, "/script").has_value()) {
    FUZZ_CHECK(arguments.argument_count() + 1 >=
               arguments.arguments().count() + (option.empty() ? 1 : 2));
  }
}

void signal_registers(Input& input) {
  const auto context = input.take<SignalContext>();
  UserRegisters before{};
  before.cs = kUserCodeSelector;
  before.ss = kUserDataSelector;
  before.rflags = kFlagsFixed | kFlagsInterrupt;
  const UserRegisters after = from_signal_context(context, before);
  constexpr std::uint64_t kPrivileged = 0x3000 | 0x4000 | 0x20000 | 0x180000;  // IOPL NT VM VIF VIP
  FUZZ_CHECK((after.cs & 3) == 3 && (after.ss & 3) == 3);
  FUZZ_CHECK((after.rflags & kPrivileged) == 0);
  FUZZ_CHECK((after.rflags & (kFlagsFixed | kFlagsInterrupt)) == (kFlagsFixed | kFlagsInterrupt));
}

void run(Input& input) {
  testing::install_fault_handler(testing::OtherFaults::kPreviousHandler);
  user().reset(0, 1 + input.take<std::uint16_t>() % 300);
  const std::uint8_t choice = input.byte();
  switch (choice % 4) {
    case 0:
      segments(input);
      break;
    case 1:
      growing_structure(input);
      break;
    case 2:
      exec_strings(input);
      break;
    default:
      signal_registers(input);
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
