#include "fs/poll.h"

#include <new>

namespace holstein {

PollTable::~PollTable() {
  for (const OwnedSlot& owned : more_) delete owned.slot;
}

void PollTable::begin_pass() {
  used_ = 0;
  port::prepare_to_block(Sleep::kInterruptible);
}

void PollTable::end_pass() { port::cancel_block(); }

PollTable::Slot* PollTable::slot(std::size_t index) {
  if (index < kInline) return &inline_[index];
  if (index - kInline < more_.size()) return more_[index - kInline].slot;
  Slot* made = new (std::nothrow) Slot;
  if (made == nullptr) return nullptr;
  if (!more_.push_back({made}).has_value()) {
    delete made;
    return nullptr;
  }
  return made;
}

void PollTable::add(WaitQueue& queue) {
  Slot* place = slot(used_);
  if (place == nullptr) {
    failed_ = true;
    return;
  }
  ++used_;
  if (place->queue != &queue) {
    place->waiter.leave();
    place->queue = &queue;
  }
  place->waiter.enter(queue);
}

Result<void> PollTable::sleep(std::uint64_t deadline_ns) {
  Errno error{};
  if (failed_) {
    error = Errno::kENOMEM;
  } else if (port::wait_is_interrupted(Sleep::kInterruptible)) {
    error = Errno::kEINTR;
  } else if (deadline_ns != kNoDeadline && port::monotonic_ns() >= deadline_ns) {
    error = Errno::kETIMEDOUT;
  } else {
    port::block(deadline_ns);
    return {};
  }
  port::cancel_block();
  return fail(error);
}

}  // namespace holstein
