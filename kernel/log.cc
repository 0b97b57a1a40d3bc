// The kernel's log: a ring of records in memory and, by level, the debug channel (QEMU's port 0xe9)
// and the serial port.
//
// Records lie in `ring` one after another, none across its end: where one does not fit, the rest of
// the ring is skipped by a record without text. The oldest ones give way to new ones.
#include "kernel/log.h"

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstring>

#include "kernel/x86/clock.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/serial.h"
#include "lib/format.h"
#include "lib/log_reader.h"
#include "lib/spinlock.h"

namespace holstein {
namespace {

constexpr std::size_t kRingBytes = 128 * 1024;
constexpr std::size_t kMaxLineBytes = 512;
constexpr std::uint16_t kDebugPort = 0xe9;

struct RecordHeader {
  std::uint64_t time_ns;
  std::uint32_t size_bytes;  // with the header, a multiple of 8
  std::uint16_t text_bytes;
  LogLevel level;
  bool is_filler;
};

constinit SpinLock lock(LockRank::kLog);
alignas(8) constinit char ring[kRingBytes];
// Positions count bytes since boot; modulo kRingBytes they are offsets.
constinit std::uint64_t oldest_position GUARDED_BY(lock) = 0;
constinit std::uint64_t next_position GUARDED_BY(lock) = 0;
constinit std::uint64_t oldest_sequence GUARDED_BY(lock) = 0;
constinit std::uint64_t next_sequence GUARDED_BY(lock) = 0;

constinit std::atomic<LogLevel> console_level = LogLevel::kDebug;
constinit std::atomic<bool> has_debug_port = false;
constinit std::atomic<bool> uses_serial = false;

RecordHeader* record_at(std::uint64_t position) {
  return reinterpret_cast<RecordHeader*>(ring + position % kRingBytes);
}

void drop_oldest_locked() REQUIRES(lock) {
  const RecordHeader& record = *record_at(oldest_position);
  oldest_position += record.size_bytes;
  if (!record.is_filler) {
    ++oldest_sequence;
  }
}

void append_record_locked(std::uint32_t size_bytes, const RecordHeader& header) REQUIRES(lock) {
  while (next_position + size_bytes - oldest_position > kRingBytes) {
    drop_oldest_locked();
  }
  *record_at(next_position) = header;
}

void add_to_ring_locked(LogLevel level, std::uint64_t time_ns, std::string_view text)
    REQUIRES(lock) {
  const auto size =
      static_cast<std::uint32_t>((sizeof(RecordHeader) + text.size() + 7) & ~std::size_t{7});
  const auto rest = static_cast<std::uint32_t>(kRingBytes - next_position % kRingBytes);
  if (rest < size) {
    append_record_locked(rest, RecordHeader{.time_ns = 0,
                                            .size_bytes = rest,
                                            .text_bytes = 0,
                                            .level = LogLevel::kDebug,
                                            .is_filler = true});
    next_position += rest;
  }
  // A rest too small for a filler's header becomes part of this record.
  const auto left_after =
      static_cast<std::uint32_t>(kRingBytes - next_position % kRingBytes) - size;
  const std::uint32_t padded =
      left_after != 0 && left_after < sizeof(RecordHeader) ? size + left_after : size;
  append_record_locked(padded, RecordHeader{.time_ns = time_ns,
                                            .size_bytes = padded,
                                            .text_bytes = static_cast<std::uint16_t>(text.size()),
                                            .level = level,
                                            .is_filler = false});
  std::memcpy(reinterpret_cast<char*>(record_at(next_position) + 1), text.data(), text.size());
  next_position += padded;
  ++next_sequence;
}

void write_to_console(std::string_view text) {
  if (has_debug_port.load(std::memory_order_relaxed)) {
    x86::out_bytes(kDebugPort, text.data(), text.size());
  }
  if (uses_serial.load(std::memory_order_relaxed)) {
    x86::serial_write_polled(text);
  }
}

void write_line_to_console(std::uint64_t time_ns, std::string_view text) {
  char stamp[32];
  write_to_console(
      format_to(stamp, "[%5lu.%06lu] ", time_ns / 1000000000, time_ns / 1000 % 1000000));
  write_to_console(text);
  write_to_console("\n");
}

}  // namespace

void log(LogLevel level, const char* format, ...) {
  char buffer[kMaxLineBytes + 1];
  std::va_list arguments;
  va_start(arguments, format);
  const std::string_view text = format_to_v(buffer, format, arguments);
  va_end(arguments);
  const std::uint64_t now = port::monotonic_ns();
  SpinGuard guard(lock);
  add_to_ring_locked(level, now, text);
  if (level <= console_level.load(std::memory_order_relaxed)) {
    write_line_to_console(now, text);
  }
}

void log_set_console_level(LogLevel level) { console_level = level; }
void log_use_serial(bool enabled) { uses_serial = enabled; }

void log_init() {
  // The port reads as its own number where it exists (QEMU's isa-debugcon).
  has_debug_port = x86::in8(kDebugPort) == kDebugPort;
}

void log_emergency(std::string_view line) NO_THREAD_SAFETY_ANALYSIS {
  // The lock may be held by whoever panicked: the console does not need it, and the ring is left
  // alone then.
  write_to_console(line);
  write_to_console("\n");
  if (!lock.is_locked()) {
    add_to_ring_locked(LogLevel::kEmergency, port::monotonic_ns(), line.substr(0, kMaxLineBytes));
  }
}

Result<LogRecord> log_read(std::uint64_t sequence, std::span<char> text) {
  SpinGuard guard(lock);
  if (sequence >= next_sequence) {
    return fail(Errno::kEAGAIN);
  }
  std::uint64_t position = oldest_position;
  std::uint64_t current = oldest_sequence;
  while (current < sequence || record_at(position)->is_filler) {
    if (!record_at(position)->is_filler) {
      ++current;
    }
    position += record_at(position)->size_bytes;
  }
  const RecordHeader& record = *record_at(position);
  const std::size_t length = std::min<std::size_t>(record.text_bytes, text.size());
  std::memcpy(text.data(), &record + 1, length);
  return LogRecord{
      .sequence = current, .time_ns = record.time_ns, .level = record.level, .length = length};
}

std::uint64_t log_first_sequence() {
  SpinGuard guard(lock);
  return oldest_sequence;
}

std::uint64_t log_next_sequence() {
  SpinGuard guard(lock);
  return next_sequence;
}

}  // namespace holstein
