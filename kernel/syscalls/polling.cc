// poll and select: waiting for many descriptors at once.
#include <algorithm>

#include "fs/poll.h"
#include "kernel/syscalls/handlers.h"
#include "proc/limits.h"
#include "proc/signal.h"
#include "uaccess/fetch_recorder.h"

namespace holstein {
namespace {

// A descriptor that is waited for.
struct Watched {
  RefPtr<File> file;  // null: not open
  std::uint32_t events = 0;
  std::uint32_t found = 0;
};

// Waits until something of `watched` is ready or `deadline_ns` has passed; fills in `found` and
// returns how many were ready.
Result<std::size_t> wait_for_any(std::span<Watched> watched, std::uint64_t deadline_ns) {
  PollTable table;
  while (true) {
    std::size_t ready = 0;
    table.begin_pass();
    for (Watched& one : watched) {
      if (one.file) {
        const std::uint32_t always = kPollError | kPollHangUp;
        one.found = one.file->poll(one.events | always, ready == 0 ? &table : nullptr) &
                    (one.events | always);
      }
      ready += one.found != 0 ? 1 : 0;
    }
    if (ready != 0 || (deadline_ns != kNoDeadline && port::monotonic_ns() >= deadline_ns)) {
      table.end_pass();
      return ready;
    }
    if (Result<void> slept = table.sleep(deadline_ns);
        !slept && slept.error() != Errno::kETIMEDOUT) {
      return fail(slept.error());
    }
  }
}

// The signal mask for the time of one call.
class TemporaryMask {
 public:
  // EINVAL for a wrong size, EFAULT. Null: the mask stays.
  Result<void> set(const UserIn<SignalMask>& mask, std::uint64_t mask_bytes) {
    if (mask.is_null()) {
      return {};
    }
    if (mask_bytes != sizeof(SignalMask)) {
      return fail(Errno::kEINVAL);
    }
    TRY_ASSIGN(const SignalMask wanted, mask.get());
    set_temporary_mask(wanted);
    is_set_ = true;
    return {};
  }
  void end(bool interrupted) {
    if (is_set_) {
      end_temporary_mask(interrupted);
    }
  }

 private:
  bool is_set_ = false;
};

Result<std::uint64_t> deadline_of(const UserIn<Timespec>& timeout) {
  if (timeout.is_null()) {
    return kNoDeadline;
  }
  TRY_ASSIGN(const std::uint64_t duration_ns, fetch_duration_ns(timeout));
  return deadline_after(duration_ns);
}

// What is left until `deadline_ns`, written back as ppoll and pselect6 do it. A failure to write is
// no failure of the call.
void put_remaining(const UserInOut<Timespec>& to, std::uint64_t deadline_ns) {
  if (to.is_null() || deadline_ns == kNoDeadline) {
    return;
  }
  const std::uint64_t now = port::monotonic_ns();
  (void)to.put(to_timespec(deadline_ns > now ? deadline_ns - now : 0));
}

bool is_interruption(Errno error) { return error == Errno::kEINTR || error == Errno::kERESTARTSYS; }

// ---- poll
// ------------------------------------------------------------------------------------------

SystemCallResult poll_descriptors(UserSpan<LinuxPollfd, Direction::kInOut> list,
                                  std::uint64_t deadline_ns) {
  if (list.size() > current_limit(Resource::kNofile)) {
    return fail(Errno::kEINVAL);
  }
  if (!list.in_range()) {
    return fail(Errno::kEFAULT);
  }
  Vec<LinuxPollfd> entries;
  Vec<Watched> watched;
  TRY(entries.resize(list.size()));
  TRY(watched.resize(list.size()));
  TRY(list.copy_in(entries.span()));
  FileTable& files = current_thread().own_files();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].descriptor < 0) {
      continue;
    }
    watched[i].events = static_cast<std::uint16_t>(entries[i].events);
    Result<RefPtr<File>> file = files.get(entries[i].descriptor);
    if (file && !(*file)->is_path_only()) {
      watched[i].file = std::move(*file);
    } else {
      watched[i].events |= kPollInvalid;
      watched[i].found = kPollInvalid;
    }
  }
  const Result<std::size_t> ready = wait_for_any(watched.span(), deadline_ns);
  if (!ready) {
    return fail(is_interruption(ready.error()) ? Errno::kEINTR : ready.error());
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i].revents = static_cast<std::int16_t>(watched[i].found);
    TRY(list.element(i).field(&LinuxPollfd::revents).put(entries[i].revents));
  }
  return static_cast<std::int64_t>(*ready);
}

}  // namespace

SystemCallResult sys_poll(UserSpan<LinuxPollfd, Direction::kInOut> list, int timeout_ms) {
  const std::uint64_t deadline_ns =
      timeout_ms < 0 ? kNoDeadline
                     : deadline_after(static_cast<std::uint64_t>(timeout_ms) * 1'000'000);
  return poll_descriptors(list, deadline_ns);
}

SystemCallResult sys_ppoll(UserSpan<LinuxPollfd, Direction::kInOut> list,
                           UserInOut<Timespec> timeout, UserIn<SignalMask> mask,
                           std::uint64_t mask_bytes) {
  TRY_ASSIGN(const std::uint64_t deadline_ns, deadline_of(timeout));
  TemporaryMask temporary;
  TRY(temporary.set(mask, mask_bytes));
  const SystemCallResult result = poll_descriptors(list, deadline_ns);
  temporary.end(!result && is_interruption(result.error()));
  put_remaining(timeout, deadline_ns);
  return result;
}

// ---- select
// ----------------------------------------------------------------------------------------

namespace {

constexpr std::uint32_t kSelectRead = kPollIn | kPollReadNormal | kPollHangUp | kPollError;
constexpr std::uint32_t kSelectWrite = kPollOut | kPollWriteNormal | kPollError;
constexpr std::uint32_t kSelectExcept = kPollPriority;
constexpr std::uint32_t kEventsOfSet[3] = {kSelectRead, kSelectWrite, kSelectExcept};
constexpr std::size_t kBitsPerWord = 64;

// The three sets of a select, each as words of 64 bits.
class DescriptorSets {
 public:
  using UserSet = UserInOut<std::uint64_t>;

  Result<void> fetch(std::int32_t count, const UserSet (&sets)[3]) {
    words_ = (static_cast<std::size_t>(count) + kBitsPerWord - 1) / kBitsPerWord;
    for (std::size_t set = 0; set < 3; ++set) {
      user_[set] = sets[set];
      TRY(wanted_[set].resize(words_));
      TRY(found_[set].resize(words_));
      if (!sets[set].is_null()) {
        TRY(sets[set].span(words_).copy_in(wanted_[set].span()));
      }
    }
    return {};
  }

  // What the sets ask of `descriptor`.
  std::uint32_t events(std::int32_t descriptor) const {
    std::uint32_t events = 0;
    for (std::size_t set = 0; set < 3; ++set) {
      events |= has(wanted_[set], descriptor) ? kEventsOfSet[set] : 0;
    }
    return events;
  }

  // Marks what was found; returns in how many sets.
  std::size_t note(std::int32_t descriptor, std::uint32_t found) {
    std::size_t marked = 0;
    for (std::size_t set = 0; set < 3; ++set) {
      if (has(wanted_[set], descriptor) && (found & kEventsOfSet[set]) != 0) {
        found_[set][static_cast<std::size_t>(descriptor) / kBitsPerWord] |=
            1ULL << (static_cast<std::size_t>(descriptor) % kBitsPerWord);
        ++marked;
      }
    }
    return marked;
  }

  Result<void> store() {
    for (std::size_t set = 0; set < 3; ++set) {
      if (!user_[set].is_null()) {
        TRY(user_[set].span(words_).copy_out(found_[set].span()));
      }
    }
    return {};
  }

 private:
  static bool has(const Vec<std::uint64_t>& words, std::int32_t descriptor) {
    const auto index = static_cast<std::size_t>(descriptor);
    return (words[index / kBitsPerWord] >> (index % kBitsPerWord) & 1) != 0;
  }

  std::size_t words_ = 0;
  UserSet user_[3];
  Vec<std::uint64_t> wanted_[3];
  Vec<std::uint64_t> found_[3];
};

SystemCallResult select_descriptors(std::int32_t count, const UserInOut<std::uint64_t> (&sets)[3],
                                    std::uint64_t deadline_ns) {
  if (count < 0) {
    return fail(Errno::kEINVAL);
  }
  FileTable& files = current_thread().own_files();
  // Descriptors that the table has no room for cannot be open: Linux does not look at them.
  const auto limited = std::min(
      count, static_cast<std::int32_t>(std::min<std::uint32_t>(files.capacity(), INT32_MAX)));
  DescriptorSets descriptor_sets;
  TRY(descriptor_sets.fetch(limited, sets));
  Vec<Watched> watched;
  Vec<std::int32_t> numbers;
  for (std::int32_t descriptor = 0; descriptor < limited; ++descriptor) {
    const std::uint32_t events = descriptor_sets.events(descriptor);
    if (events == 0) {
      continue;
    }
    TRY_ASSIGN(RefPtr<File> file, usable_file_of({.number = descriptor}));
    TRY(watched.push_back({.file = std::move(file), .events = events, .found = 0}));
    TRY(numbers.push_back(descriptor));
  }
  std::size_t marked = 0;
  while (true) {
    const Result<std::size_t> ready = wait_for_any(watched.span(), deadline_ns);
    if (!ready) {
      return fail(is_interruption(ready.error()) ? Errno::kEINTR : ready.error());
    }
    for (std::size_t i = 0; i < watched.size(); ++i) {
      marked += descriptor_sets.note(numbers[i], watched[i].found);
    }
    // An event that no set asked for (a hang-up of a file that is only watched for writing).
    if (marked != 0 || *ready == 0) {
      break;
    }
    for (Watched& one : watched) {
      one.events = one.found != 0 ? 0 : one.events;
      if (one.events == 0) {
        one.file = nullptr;
        one.found = 0;
      }
    }
  }
  TRY(descriptor_sets.store());
  return static_cast<std::int64_t>(marked);
}

}  // namespace

SystemCallResult sys_select(std::int32_t count, UserInOut<std::uint64_t> read,
                            UserInOut<std::uint64_t> write, UserInOut<std::uint64_t> except,
                            UserInOut<Timeval> timeout) {
  std::uint64_t deadline_ns = kNoDeadline;
  if (!timeout.is_null()) {
    TRY_ASSIGN(const Timeval time, timeout.get());
    if (time.seconds < 0 || time.microseconds < 0) {
      return fail(Errno::kEINVAL);
    }
    // Linux takes microseconds of a second and more here.
    std::int64_t seconds = 0;
    if (__builtin_add_overflow(time.seconds, time.microseconds / 1'000'000, &seconds)) {
      seconds = INT64_MAX;
    }
    TRY_ASSIGN(
        const std::uint64_t duration_ns,
        to_duration_ns({.seconds = seconds, .nanoseconds = time.microseconds % 1'000'000 * 1000}));
    deadline_ns = deadline_after(duration_ns);
  }
  const SystemCallResult result = select_descriptors(count, {read, write, except}, deadline_ns);
  if (!timeout.is_null()) {
    const std::uint64_t now = port::monotonic_ns();
    (void)timeout.put(to_timeval(deadline_ns > now ? deadline_ns - now : 0));
  }
  return result;
}

SystemCallResult sys_pselect6(std::int32_t count, UserInOut<std::uint64_t> read,
                              UserInOut<std::uint64_t> write, UserInOut<std::uint64_t> except,
                              UserInOut<Timespec> timeout, UserIn<SignalMaskArgument> mask) {
  SignalMaskArgument mask_argument{};
  if (!mask.is_null()) {
    TRY_ASSIGN(mask_argument, mask.get());
  }
  TRY_ASSIGN(const std::uint64_t deadline_ns, deadline_of(timeout));
  fetch_next_argument();  // the mask may lie anywhere, also in the timeout or in a set
  TemporaryMask temporary;
  TRY(temporary.set(UserIn<SignalMask>::from_value(mask_argument.mask_address),
                    mask_argument.mask_bytes));
  fetch_next_argument();
  const SystemCallResult result = select_descriptors(count, {read, write, except}, deadline_ns);
  temporary.end(!result && is_interruption(result.error()));
  put_remaining(timeout, deadline_ns);
  return result;
}

}  // namespace holstein
