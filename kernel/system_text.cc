// Texts that /proc, /dev/kmsg and syslog(2) show of the kernel itself (fs/process_view.h).
#include <algorithm>
#include <cstring>

#include "fs/mount.h"
#include "fs/process_view.h"
#include "kernel/boot.h"
#include "lib/format.h"
#include "lib/log_reader.h"

namespace holstein::port {

std::string_view kernel_command_line() { return boot_command_line(); }

// A position is a record's number times this, plus an offset in the record's line, which is
// shorter.
std::size_t read_kernel_log(std::uint64_t& position, std::span<char> to) {
  constexpr std::uint64_t kBytesPerRecord = 1024;
  char text[600];
  char line[kBytesPerRecord];
  std::size_t done = 0;
  while (done < to.size()) {
    const Result<LogRecord> record = log_read(position / kBytesPerRecord, text);
    if (!record.has_value()) {
      break;
    }
    const std::string_view formatted =
        format_to(line, "<%u>[%5lu.%06lu] %.*s\n", static_cast<unsigned>(record->level),
                  record->time_ns / 1'000'000'000, record->time_ns / 1000 % 1'000'000,
                  static_cast<int>(std::min(record->length, sizeof(text))), text);
    // A record that was overwritten meanwhile is passed over as a whole.
    const std::size_t offset =
        position / kBytesPerRecord == record->sequence
            ? std::min<std::size_t>(position % kBytesPerRecord, formatted.size())
            : 0;
    const std::size_t part = std::min(formatted.size() - offset, to.size() - done);
    std::memcpy(to.data() + done, formatted.data() + offset, part);
    done += part;
    position = offset + part == formatted.size()
                   ? (record->sequence + 1) * kBytesPerRecord
                   : record->sequence * kBytesPerRecord + offset + part;
    if (done > 0) {
      break;  // one record at a time, as /dev/kmsg does
    }
  }
  return done;
}

}  // namespace holstein::port
