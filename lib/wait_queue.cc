#include "lib/wait_queue.h"

namespace holstein {

void Waiter::enter(WaitQueue& queue) {
  {
    SpinGuard guard(queue.lock_);
    if (linked_) {
      return;
    }
    queue_ = &queue;
    linked_ = true;
    next_ = nullptr;
    previous_ = queue.last_;
    if (previous_ != nullptr) {
      previous_->next_ = this;
    } else {
      queue.first_.store(this, std::memory_order_relaxed);
    }
    queue.last_ = this;
  }
  // Before the look at the condition: see WaitQueue::is_empty().
  std::atomic_thread_fence(std::memory_order_seq_cst);
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
  if (waiter.previous_ != nullptr) {
    waiter.previous_->next_ = waiter.next_;
  } else {
    first_.store(waiter.next_, std::memory_order_relaxed);
  }
  (waiter.next_ != nullptr ? waiter.next_->previous_ : last_) = waiter.previous_;
  waiter.linked_ = false;
}

void WaitQueue::wake_first() {
  SpinGuard guard(lock_);
  if (Waiter* waiter = first_.load(std::memory_order_relaxed); waiter != nullptr) {
    unlink_locked(*waiter);
    port::wake(waiter->thread_);
  }
}

void WaitQueue::wake_every() {
  SpinGuard guard(lock_);
  while (Waiter* waiter = first_.load(std::memory_order_relaxed)) {
    unlink_locked(*waiter);
    port::wake(waiter->thread_);
  }
}

}  // namespace holstein
