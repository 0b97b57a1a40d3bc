#include "proc/fork_watch.h"

#include <algorithm>
#include <cstdarg>
#include <cstring>
#include <new>

#include "fs/file.h"
#include "fs/poll.h"
#include "lib/format.h"
#include "proc/process.h"
#include "proc/thread.h"
#include "uaccess/io_iterator.h"

namespace holstein {

// ---- The reader's side

Result<void> ForkWatch::choose_fork(std::uint32_t nth) {
  SpinGuard guard(lock_);
  if (state_.load() != State::kArmed) {
    return fail(Errno::kEBUSY);
  }
  forks_left_ = nth;
  return {};
}

Result<std::size_t> ForkWatch::next_line(std::span<char> to, bool nonblocking) {
  {
    SpinGuard guard(lock_);
    if (bytes_read_ == line_bytes_) {
      release_locked();
    }
  }
  standing_.wake_all();
  const auto ready = [this] { return has_news(); };
  if (nonblocking && !ready()) {
    return fail(Errno::kEAGAIN);
  }
  if (!reader_.wait(Sleep::kInterruptible, ready).has_value()) {
    return fail(Errno::kERESTARTSYS);
  }
  SpinGuard guard(lock_);
  const std::size_t size = std::min(to.size(), line_bytes_ - bytes_read_);
  std::memcpy(to.data(), line_ + bytes_read_, size);
  return size;
}

void ForkWatch::take_read(std::size_t bytes) {
  SpinGuard guard(lock_);
  bytes_read_ = std::min(bytes_read_ + bytes, line_bytes_);
  has_news_.store(bytes_read_ < line_bytes_ || is_over(), std::memory_order_release);
}

void ForkWatch::poll(PollTable& table) { table.add(reader_); }

void ForkWatch::close() {
  {
    SpinGuard guard(lock_);
    state_.store(State::kOver);
    has_news_.store(true);
  }
  standing_.wake_all();
  reader_.wake_all();
}

void ForkWatch::release_locked() {
  const State state = state_.load();
  if (state == State::kBefore) {
    state_.store(State::kForking);
  } else if (state == State::kAfter) {
    state_.store(State::kRunning);
  } else if (state == State::kApart) {
    state_.store(State::kOver);
    has_news_.store(true);
  }
}

// ---- The watched side

void ForkWatch::tell_locked(State state, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  line_bytes_ = format_to_v(line_, format, arguments).size();
  va_end(arguments);
  bytes_read_ = 0;
  state_.store(state);
  has_news_.store(true);
}

void ForkWatch::stand_still(State state) {
  reader_.wake_all();
  const auto released = [this, state] { return state_.load() != state; };
  if (standing_.wait(Sleep::kKillable, released).has_value()) {
    return;
  }
  {
    SpinGuard guard(lock_);
    if (state_.load() == state) {
      release_locked();
    }
  }
  reader_.wake_all();
}

bool ForkWatch::before_fork(const Process& process) {
  {
    SpinGuard guard(lock_);
    if (state_.load() != State::kArmed || process.pid() != parent_ || --forks_left_ > 0) {
      return false;
    }
    tell_locked(State::kBefore, "before %d\n", parent_);
  }
  stand_still(State::kBefore);
  return true;
}

void ForkWatch::after_fork(const Process& child) {
  {
    SpinGuard guard(lock_);
    if (state_.load() != State::kForking) {
      return;
    }
    child_ = child.pid();
    tell_locked(State::kAfter, "after %d %d\n", parent_, child_);
  }
  stand_still(State::kAfter);
}

void ForkWatch::fork_failed() {
  SpinGuard guard(lock_);
  if (state_.load() == State::kForking) {
    state_.store(State::kArmed);
    forks_left_ = 1;
  }
}

void ForkWatch::before_end(const Process& process, const char* how) {
  {
    SpinGuard guard(lock_);
    if (state_.load() != State::kRunning) {
      return;
    }
    tell_locked(State::kApart, "apart %d %d %s %s\n", parent_, child_,
                process.pid() == parent_ ? "parent" : "child", how);
  }
  stand_still(State::kApart);
}

void ForkWatch::ended(const Process& process) {
  {
    SpinGuard guard(lock_);
    if (state_.load() != State::kArmed || process.pid() != parent_) {
      return;
    }
    state_.store(State::kOver);
    has_news_.store(true);
  }
  reader_.wake_all();
}

// ---- Processes and their watches

namespace {

RefPtr<ForkWatch> watch_of(Process& process) {
  if (!process.is_watched.load(std::memory_order_relaxed)) [[likely]] {
    return nullptr;
  }
  SpinGuard guard(process.signal_lock);
  return process.fork_watch;
}

class ForkWatchFile final : public File {
 public:
  ForkWatchFile(const Path& path, std::uint32_t flags, RefPtr<ForkWatch> watch)
      : File(path, flags), watch_(std::move(watch)) {}
  ~ForkWatchFile() override { watch_->close(); }

  bool is_seekable() const override { return false; }
  std::uint32_t poll(std::uint32_t, PollTable* table) override {
    if (table != nullptr) {
      watch_->poll(*table);
    }
    constexpr std::uint32_t kWritable = kPollOut | kPollWriteNormal;
    return watch_->has_news() ? kWritable | kPollIn | kPollReadNormal : kWritable;
  }

 protected:
  Result<std::size_t> do_read(IoSink& to, std::uint64_t&) override {
    if (to.remaining() == 0) {
      return std::size_t{0};
    }
    char line[80];
    TRY_ASSIGN(const std::size_t size,
               watch_->next_line(std::span(line).first(std::min(sizeof(line), to.remaining())),
                                 is_nonblocking()));
    const std::size_t moved = to.write(std::as_bytes(std::span(line)).first(size));
    watch_->take_read(moved);
    if (moved == 0 && to.faulted()) {
      return fail(Errno::kEFAULT);
    }
    return moved;
  }

  // The number of the fork to watch.
  Result<std::size_t> do_write(IoSource& from, std::uint64_t&) override {
    constexpr std::uint32_t kMostForks = 1'000'000;
    char text[16];
    const std::size_t size = from.remaining();
    if (size > sizeof(text)) {
      return fail(Errno::kEINVAL);
    }
    if (from.read(std::as_writable_bytes(std::span(text)).first(size)) != size) {
      return fail(Errno::kEFAULT);
    }
    std::string_view digits(text, size);
    if (digits.ends_with('\n')) {
      digits.remove_suffix(1);
    }
    std::uint32_t nth = 0;
    for (const char digit : digits) {
      if (digit < '0' || digit > '9' || nth > kMostForks) {
        return fail(Errno::kEINVAL);
      }
      nth = nth * 10 + static_cast<std::uint32_t>(digit - '0');
    }
    if (nth == 0 || nth > kMostForks) {
      return fail(Errno::kEINVAL);
    }
    TRY(watch_->choose_fork(nth));
    return size;
  }

 private:
  const RefPtr<ForkWatch> watch_;
};

}  // namespace

Result<RefPtr<File>> open_fork_watch(Process& process, const Path& path, std::uint32_t flags) {
  if (&process == current_thread().process.get()) {
    return fail(Errno::kEINVAL);
  }
  auto watch = RefPtr<ForkWatch>::adopt(new (std::nothrow) ForkWatch(process.pid()));
  if (!watch) {
    return fail(Errno::kENOMEM);
  }
  RefPtr<ForkWatch> old;
  {
    SpinGuard links(process_links);
    if (process.live_threads == 0) {
      return fail(Errno::kESRCH);
    }
    SpinGuard guard(process.signal_lock);
    if (process.fork_watch && !process.fork_watch->is_over()) {
      return fail(Errno::kEBUSY);
    }
    old = std::exchange(process.fork_watch, watch);
    process.is_watched.store(true);
  }
  // Last: a File that goes away gives back write access, which after a failure the caller does.
  auto file = RefPtr<File>::adopt(new (std::nothrow) ForkWatchFile(path, flags, watch));
  if (!file) {
    watch->close();
    return fail(Errno::kENOMEM);
  }
  return file;
}

RefPtr<ForkWatch> watched_fork(Process& process) {
  RefPtr<ForkWatch> watch = watch_of(process);
  return watch && watch->before_fork(process) ? watch : nullptr;
}

void show_fork(const RefPtr<ForkWatch>& watch, Process& child) {
  RefPtr<ForkWatch> old;
  {
    SpinGuard guard(child.signal_lock);
    old = std::exchange(child.fork_watch, watch);
    child.is_watched.store(true);
  }
  watch->after_fork(child);
}

void show_end(Process& process, const char* how) {
  if (const RefPtr<ForkWatch> watch = watch_of(process); watch) {
    watch->before_end(process, how);
  }
}

void show_thread_exit(Process& process) {
  const RefPtr<ForkWatch> watch = watch_of(process);
  if (!watch) {
    return;
  }
  bool is_last = false;
  {
    SpinGuard links(process_links);
    is_last = process.live_threads == 1;
  }
  if (is_last) {
    watch->before_end(process, "exit");
  }
}

void end_watch(Process& process) {
  if (!process.is_watched.load()) {
    return;
  }
  RefPtr<ForkWatch> watch;
  {
    SpinGuard guard(process.signal_lock);
    process.is_watched.store(false);
    watch = std::exchange(process.fork_watch, nullptr);
  }
  if (watch) {
    watch->ended(process);
  }
}

}  // namespace holstein
