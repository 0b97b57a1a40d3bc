// Signal actions, shared by fork and copied at the first change.
#include <new>

#include "proc/process.h"
#include "proc/signal.h"
#include "proc/thread.h"
#include "uaccess/speculation.h"

namespace holstein {

namespace {

// Of a signal in the table. The number was checked; the CPU may not have waited for that.
std::size_t index_of(int signal) {
  return clamp_index(static_cast<std::size_t>(signal - 1), kSignalCount);
}

}  // namespace

Result<RefPtr<SignalActions>> SignalActions::create() {
  auto actions = RefPtr<SignalActions>::adopt(new (std::nothrow) SignalActions);
  auto table = RefPtr<ActionTable>::adopt(new (std::nothrow) ActionTable);
  if (!actions || !table) {
    return fail(Errno::kENOMEM);
  }
  SpinGuard guard(actions->lock_);
  actions->table_ = std::move(table);
  return actions;
}

Result<RefPtr<SignalActions>> SignalActions::fork() {
  auto actions = RefPtr<SignalActions>::adopt(new (std::nothrow) SignalActions);
  if (!actions) {
    return fail(Errno::kENOMEM);
  }
  RefPtr<ActionTable> table;
  {
    SpinGuard guard(lock_);
    table = table_;
  }
  SpinGuard guard(actions->lock_);
  actions->table_ = std::move(table);
  return actions;
}

Result<RefPtr<SignalActions>> SignalActions::fork_for_exec() {
  TRY_ASSIGN(RefPtr<SignalActions> actions, create());
  for (int signal = 1; signal <= kSignalCount; ++signal) {
    const SignalAction action = get(signal);
    if (action.handler == kSigIgn) {
      SpinGuard guard(actions->lock_);
      actions->table_->actions[signal - 1].handler = kSigIgn;
    }
  }
  return actions;
}

SignalAction SignalActions::get(int signal) {
  SpinGuard guard(lock_);
  return table_->actions[index_of(signal)];
}

Result<void> SignalActions::set(int signal, const SignalAction& action) {
  auto fresh = RefPtr<ActionTable>();
  RefPtr<ActionTable> old;
  {
    SpinGuard guard(lock_);
    if (table_->reference_count() > 1) {
      fresh = RefPtr<ActionTable>::adopt(new (std::nothrow) ActionTable);
      if (!fresh) {
        return fail(Errno::kENOMEM);
      }
      for (int i = 0; i < kSignalCount; ++i) {
        fresh->actions[i] = table_->actions[i];
      }
      old = std::move(table_);
      table_ = std::move(fresh);
    }
    table_->actions[index_of(signal)] = action;
  }
  return {};
}

bool SignalActions::reset(int signal) {
  SignalAction action = get(signal);
  action.handler = kSigDfl;
  return set(signal, action).has_value();
}

Result<SignalAction> change_action(int signal, const std::optional<SignalAction>& wanted) {
  if (!is_valid_signal(signal) ||
      (wanted.has_value() && (signal_bit(signal) & kUnblockableSignals) != 0)) {
    return fail(Errno::kEINVAL);
  }
  Process& process = current_process();
  SignalActions& actions = process.own_actions();
  const SignalAction previous = actions.get(signal);
  if (!wanted.has_value()) {
    return previous;
  }
  SignalAction action = *wanted;
  action.mask &= ~kUnblockableSignals;
  TRY(actions.set(signal, action));

  // POSIX: a pending signal whose new action is to ignore it is forgotten.
  const bool ignored =
      action.handler == kSigIgn ||
      (action.handler == kSigDfl && (default_action(signal) == DefaultAction::kIgnore ||
                                     default_action(signal) == DefaultAction::kContinue));
  if (ignored) {
    SpinGuard links(process_links);
    SpinGuard guard(process.signal_lock);
    process.pending.remove(signal_bit(signal));
    for (Thread& thread : process.threads) {
      thread.pending.remove(signal_bit(signal));
      update_signal_work_locked(thread);
    }
  }
  return previous;
}

}  // namespace holstein
