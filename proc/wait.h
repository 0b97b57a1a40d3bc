// Waiting for children: wait4 and waitid.
#pragma once

#include <cstdint>

#include "lib/result.h"
#include "proc/abi.h"

namespace holstein {

enum class WaitFor : std::uint8_t { kAny, kPid, kGroup };

struct WaitRequest {
  WaitFor which = WaitFor::kAny;
  std::int32_t id = 0;        // pid or group
  std::uint32_t options = 0;  // kW...; at least one of kWExited, kWStopped, kWContinued
};

struct WaitResult {
  std::int32_t pid = 0;     // 0: kWNoHang and nobody was ready
  std::int32_t status = 0;  // as wait4 gives it
  std::int32_t code = 0;    // kCld..., as waitid gives it
  std::int32_t value = 0;   // exit code or signal, as waitid gives it
  std::uint32_t uid = 0;    // real
  ResourceUsage usage;      // of the child and its waited-for children
};

// ECHILD, EINTR (as ERESTARTSYS), EINVAL for unknown options.
[[nodiscard]] Result<WaitResult> wait_for_child(const WaitRequest& request);

// The requests that the system calls stand for. EINVAL, ESRCH (INT_MIN), as Linux.
[[nodiscard]] Result<WaitRequest> wait4_request(std::int32_t pid, std::uint32_t options);
[[nodiscard]] Result<WaitRequest> waitid_request(int which, std::int32_t id, std::uint32_t options);

}  // namespace holstein
