#include "lib/wait_queue.h"

namespace holstein {

void Waiter::enter(WaitQueue& queue) {
  SpinGuard guard(queue.lock_);
  if (linked_) {
    return;
  }
  queue_ = &queue;
  linked_ = true;
  next_ = nullptr;
  previous_ = queue.last_;
  (previous_ != nullptr ? previous_->next_ : queue.first_) = this;
  queue.last_ = this;
}

void Waiter::leave() {
  if (queue_ == nullptr) {
    return;
  }
  SpinGuard guard(queue_->lock_);
  if (linked_) {
    queue_->unlink_locked(*this);
  }
}

void WaitQueue::unlink_locked(Waiter& waiter) {
  (waiter.previous_ != nullptr ? waiter.previous_->next_ : first_) = waiter.next_;
  (waiter.next_ != nullptr ? waiter.next_->previous_ : last_) = waiter.previous_;
  waiter.linked_ = false;
}

void WaitQueue::wake_one() {
  SpinGuard guard(lock_);
  if (Waiter* waiter = first_; waiter != nullptr) {
    unlink_locked(*waiter);
    port::wake(waiter->thread_);
  }
}

void WaitQueue::wake_all() {
  SpinGuard guard(lock_);
  while (Waiter* waiter = first_) {
    unlink_locked(*waiter);
    port::wake(waiter->thread_);
  }
}

}  // namespace holstein
