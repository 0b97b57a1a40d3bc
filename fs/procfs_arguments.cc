// /proc/<pid>/cmdline and environ: bytes of the process's own memory.
#include <algorithm>

#include "fs/procfs_nodes.h"

namespace holstein {
namespace {

// Arguments and environment are at most a quarter of the stack's limit; this bounds what a read of
// a program's made-up addresses can cost.
constexpr std::uint64_t kMaxBytes = 8ULL << 20;

// Appends [start, end) of the space's memory, up to what the program did not declare readable.
Result<void> append_memory(AddressSpace& space, std::uint64_t start, std::uint64_t end,
                           String& to) {
  if (start >= end) return {};
  end = std::min(end, start + kMaxBytes);
  Vec<char> page;
  TRY(page.resize(std::min(kPageSize, end - start)));
  for (std::uint64_t at = start; at < end;) {
    const std::span<char> wanted =
        page.span().first(std::min<std::uint64_t>(page.size(), end - at));
    const std::size_t read =
        space.read_memory(VirtAddr(at), std::as_writable_bytes(wanted), RemoteRights::kAsProgram);
    TRY(to.append({wanted.data(), read}));
    if (read < wanted.size()) break;
    at += read;
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
