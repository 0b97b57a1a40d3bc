// Pending signals: which, in which order, and what is known of each.
#include <bit>

#include "lib/panic.h"
#include "proc/credentials.h"
#include "proc/signal.h"

namespace holstein {

void free_pending_signal(PendingSignal& entry) {
  if (entry.taken != nullptr) {
    entry.taken(entry);
    return;
  }
  if (entry.account != nullptr) {
    entry.account->pending_signals.fetch_sub(1, std::memory_order_relaxed);
    release_account(entry.account);
  }
  delete &entry;
}

PendingSignals::~PendingSignals() { remove(~SignalMask{0}); }

void PendingSignals::add(PendingSignal& entry) {
  mask_ |= signal_bit(entry.info.signal);
  entries_.push_back(entry);
}

void PendingSignals::add_bare(int signal, bool from_kernel) {
  const SignalMask bit = signal_bit(signal);
  if ((mask_ & bit) == 0 && from_kernel) {
    bare_from_kernel_ |= bit;
  }
  mask_ |= bit;
}

SignalInfo PendingSignals::take(int signal) {
  const SignalMask bit = signal_bit(signal);
  HOLSTEIN_ASSERT((mask_ & bit) != 0);
  PendingSignal* found = nullptr;
  bool is_last = true;
  for (PendingSignal& entry : entries_) {
    if (entry.info.signal != signal) {
      continue;
    }
    if (found != nullptr) {
      is_last = false;
      break;
    }
    found = &entry;
  }
  SignalInfo info{.signal = signal, .code = (bare_from_kernel_ & bit) != 0 ? kSiKernel : kSiUser};
  if (found != nullptr) {
    info = found->info;
    entries_.erase(entries_.iterator_to(*found));
    free_pending_signal(*found);
  }
  if (is_last) {
    mask_ &= ~bit;
    bare_from_kernel_ &= ~bit;
  }
  return info;
}

void PendingSignals::remove(SignalMask set) {
  mask_ &= ~set;
  bare_from_kernel_ &= ~set;
  for (auto it = entries_.begin(); it != entries_.end();) {
    PendingSignal& entry = *it;
    if ((signal_bit(entry.info.signal) & set) == 0) {
      ++it;
      continue;
    }
    it = entries_.erase(it);
    free_pending_signal(entry);
  }
}

bool PendingSignals::withdraw(PendingSignal& entry) {
  for (PendingSignal& candidate : entries_) {
    if (&candidate != &entry) {
      continue;
    }
    const int signal = entry.info.signal;
    entries_.erase(entries_.iterator_to(entry));
    bool more = false;
    for (const PendingSignal& other : entries_) {
      more = more || other.info.signal == signal;
    }
    if (!more) {
      mask_ &= ~signal_bit(signal);
    }
    return true;
  }
  return false;
}

int first_signal(SignalMask deliverable) {
  if (deliverable == 0) {
    return 0;
  }
  const SignalMask synchronous = deliverable & kSynchronousSignals;
  return std::countr_zero(synchronous != 0 ? synchronous : deliverable) + 1;
}

DefaultAction default_action(int signal) {
  switch (signal) {
    case kSigChld:
    case kSigUrg:
    case kSigWinch:
      return DefaultAction::kIgnore;
    case kSigCont:
      return DefaultAction::kContinue;
    case kSigStop:
    case kSigTstp:
    case kSigTtin:
    case kSigTtou:
      return DefaultAction::kStop;
    case kSigQuit:
    case kSigIll:
    case kSigTrap:
    case kSigAbrt:
    case kSigBus:
    case kSigFpe:
    case kSigSegv:
    case kSigXcpu:
    case kSigXfsz:
    case kSigSys:
      return DefaultAction::kCore;
    default:
      return DefaultAction::kTerminate;
  }
}

}  // namespace holstein
