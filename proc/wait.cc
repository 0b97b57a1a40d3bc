#include "proc/wait.h"

#include <optional>

#include "fs/mount.h"
#include "proc/exit.h"
#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

namespace {

bool matches(const Process& child, const WaitRequest& request) REQUIRES(process_links) {
  switch (request.which) {
    case WaitFor::kAny:
      break;
    case WaitFor::kPid:
      if (child.pid() != request.id) {
        return false;
      }
      break;
    case WaitFor::kGroup:
      if (child.group == nullptr || child.group->number != request.id) {
        return false;
      }
      break;
  }
  // "Clone" children are those that do not report with SIGCHLD.
  const bool is_clone = child.exit_signal != kSigChld;
  const bool wants_clones = (request.options & kWClone) != 0;
  return (request.options & kWAll) != 0 || is_clone == wants_clones;
}

struct Found {
  WaitResult result;
  ReapedProcess reaped;
};

// What `child` has to report, if anything; takes note that it did unless kWNoWait.
std::optional<WaitResult> report_of(Process& child, std::uint32_t options) REQUIRES(process_links) {
  const bool consumes = (options & kWNoWait) == 0;
  const RefPtr<const Identity> identity = child.leader->identity();
  WaitResult result;
  result.pid = child.pid();
  result.uid = identity->uid;
  if (child.state == ProcessState::kZombie) {
    if ((options & kWExited) == 0) {
      return std::nullopt;
    }
    result.status = child.exit_status;
    const bool killed = (result.status & 0x7f) != 0;
    result.code = killed ? kCldKilled : kCldExited;
    result.value = killed ? result.status & 0x7f : result.status >> 8 & 0xff;
    return result;
  }
  SpinGuard guard(child.signal_lock);
  if ((options & kWStopped) != 0 && child.is_stopped && child.stop_to_report) {
    child.stop_to_report = !consumes;
    result.status = stopped_status(child.stop_signal);
    result.code = kCldStopped;
    result.value = child.stop_signal;
    return result;
  }
  if ((options & kWContinued) != 0 && child.continue_to_report) {
    child.continue_to_report = !consumes;
    result.status = kContinuedStatus;
    result.code = kCldContinued;
    result.value = kSigCont;
    return result;
  }
  return std::nullopt;
}

// One look at the children: a result, ECHILD, or nothing yet.
std::optional<Result<Found>> look(Process& process, const WaitRequest& request) {
  SpinGuard links(process_links);
  bool any = false;
  for (Process& child : process.children) {
    if (!matches(child, request)) {
      continue;
    }
    any = true;
    std::optional<WaitResult> report = report_of(child, request.options);
    if (!report.has_value()) {
      continue;
    }
    UsedResources used = used_resources_linked(child);
    used.add(child.waited_children);
    report->usage = to_usage(used);
    Found found{.result = *report, .reaped = {}};
    if (child.state == ProcessState::kZombie && (request.options & kWNoWait) == 0) {
      found.reaped = reap_process_locked(child, &process);
    }
    return found;
  }
  if (!any) {
    return Result<Found>(fail(Errno::kECHILD));
  }
  return std::nullopt;
}

}  // namespace

Result<WaitResult> wait_for_child(const WaitRequest& request) {
  Process& process = current_process();
  std::optional<Result<Found>> found;
  const auto ready = [&] {
    found = look(process, request);
    return found.has_value() || (request.options & kWNoHang) != 0;
  };
  if (!process.child_queue.wait(Sleep::kInterruptible, ready).has_value()) {
    return fail(Errno::kERESTARTSYS);
  }
  if (!found.has_value()) {
    return WaitResult{};
  }
  if (!found->has_value()) {
    return fail(found->error());
  }
  return (*found)->result;
}

Result<WaitRequest> wait4_request(std::int32_t pid, std::uint32_t options) {
  constexpr std::uint32_t kAllowed =
      kWNoHang | kWUntraced | kWContinued | kWNoThread | kWClone | kWAll;
  if ((options & ~kAllowed) != 0) {
    return fail(Errno::kEINVAL);
  }
  if (pid == INT32_MIN) {
    return fail(Errno::kESRCH);
  }
  WaitRequest request{.which = WaitFor::kAny, .id = 0, .options = options | kWExited};
  if (pid > 0) {
    request.which = WaitFor::kPid;
    request.id = pid;
  } else if (pid < -1) {
    request.which = WaitFor::kGroup;
    request.id = -pid;
  } else if (pid == 0) {
    request.which = WaitFor::kGroup;
    request.id = get_process_group(0).value_or(0);
  }
  return request;
}

Result<WaitRequest> waitid_request(int which, std::int32_t id, std::uint32_t options) {
  constexpr std::uint32_t kEvents = kWExited | kWStopped | kWContinued;
  constexpr std::uint32_t kAllowed = kEvents | kWNoHang | kWNoWait | kWNoThread | kWClone | kWAll;
  if ((options & ~kAllowed) != 0 || (options & kEvents) == 0) {
    return fail(Errno::kEINVAL);
  }
  WaitRequest request{.which = WaitFor::kAny, .id = id, .options = options};
  switch (which) {
    case kPAll:
      break;
    case kPPid:
      if (id <= 0) {
        return fail(Errno::kEINVAL);
      }
      request.which = WaitFor::kPid;
      break;
    case kPPgid:
      if (id < 0) {
        return fail(Errno::kEINVAL);
      }
      request.which = WaitFor::kGroup;
      if (id == 0) {
        request.id = get_process_group(0).value_or(0);
      }
      break;
    default:
      return fail(Errno::kEINVAL);  // pidfds do not exist here
  }
  return request;
}

}  // namespace holstein
