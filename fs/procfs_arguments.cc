// /proc/<pid>/cmdline and environ: bytes of the process's own memory.
#include "fs/procfs_nodes.h"
#include "vm/frame.h"

namespace holstein {
namespace {

// Arguments and environment are at most a quarter of the stack's limit; this bounds what a read of
// a program's made-up addresses can cost.
constexpr std::uint64_t kMaxBytes = 8ULL << 20;

// Appends [start, end) of the space's memory, up to what is not readable.
Result<void> append_memory(AddressSpace& space, std::uint64_t start, std::uint64_t end,
                           String& to) {
  if (start >= end) return {};
  end = std::min(end, start + kMaxBytes);
  for (std::uint64_t at = start; at < end;) {
    const Result<PhysAddr> frame = space.pin_page(VirtAddr(at), FaultAccess::kRead, true);
    if (!frame.has_value()) {
      return frame.error() == Errno::kENOMEM ? Result<void>(fail(Errno::kENOMEM)) : Result<void>();
    }
    const std::uint64_t offset = at % kPageSize;
    const std::uint64_t size = std::min(kPageSize - offset, end - at);
    const Result<void> appended = to.append({phys_to_virt<char>(*frame) + offset, size});
    if (*frame != zero_frame) frame_release(frame_of(*frame));
    TRY(appended);
    at += size;
  }
  return {};
}

}  // namespace

Result<void> generate_command_line(ProcessView& process, String& to) {
  const RefPtr<AddressSpace> space = process.address_space();
  if (!space) return {};
  const ProgramLayout layout = space->layout();
  TRY(append_memory(*space, layout.argument_start, layout.argument_end, to));
  // A program that wrote a longer title over its arguments (setproctitle) goes on into the
  // environment, up to the first NUL.
  if (to.empty() || to.view().back() == '\0') return {};
  String title;
  TRY(append_memory(*space, layout.argument_end, layout.environment_end, title));
  return to.append(title.view().substr(0, title.view().find('\0')));
}

Result<void> generate_environment(ProcessView& process, String& to) {
  const RefPtr<AddressSpace> space = process.address_space();
  if (!space) return {};
  const ProgramLayout layout = space->layout();
  return append_memory(*space, layout.environment_start, layout.environment_end, to);
}

}  // namespace holstein
