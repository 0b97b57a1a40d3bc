// Waiting for many files at once: what poll, select and epoll sleep on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/result.h"
#include "lib/vec.h"
#include "lib/wait_queue.h"

namespace holstein {

// Collects the wait queues of the files that one thread polls. One pass:
//
//   PollTable table;
//   while (true) {
//     table.begin_pass();                        // the thread counts as blocked from here on
//     for each file: file.poll(events, &table);  // enters the file's queues
//     if (anything is ready) { table.end_pass(); break; }
//     TRY(table.sleep(deadline));                // EINTR, ETIMEDOUT, ENOMEM
//   }
//
// The files must outlive the table. Leaving the scope takes the thread out of every queue.
class PollTable {
 public:
  PollTable() = default;
  ~PollTable();
  PollTable(const PollTable&) = delete;
  PollTable& operator=(const PollTable&) = delete;

  void begin_pass();
  void end_pass();
  // Called by File::poll. Out of memory is remembered and reported by sleep().
  void add(WaitQueue& queue);
  // Ends the pass: sleeps unless woken since begin_pass().
  [[nodiscard]] Result<void> sleep(std::uint64_t deadline_ns);

 private:
  static constexpr std::size_t kInline = 8;
  struct Slot {
    Waiter waiter;
    WaitQueue* queue = nullptr;
  };
  struct OwnedSlot {
    Slot* slot = nullptr;
  };
  Slot* slot(std::size_t index);

  Slot inline_[kInline];
  Vec<OwnedSlot> more_;
  std::size_t used_ = 0;
  bool failed_ = false;
};

}  // namespace holstein
