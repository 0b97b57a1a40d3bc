// The parts of exec that are in files of their own.
#pragma once

#include <cstdint>
#include <string_view>

#include "fs/path.h"
#include "lib/result.h"
#include "lib/vec.h"
#include "proc/exec.h"
#include "proc/program_image.h"
#include "proc/script.h"

namespace holstein {

// Reads the first line of `file` and parses it (proc/script.h).
[[nodiscard]] Result<bool> read_script_head(File& file, ScriptHead& head);

// What the new program inherits.
struct ProgramSetting {
  const Identity* identity = nullptr;
  MemoryLimits limits;
  std::uint32_t personality = 0;
  bool no_new_privileges = false;
};

struct PreparedProgram {
  ProgramImage image;
  RefPtr<ExecutedFile> executed;
  RefPtr<Identity> identity;
  std::string_view name;  // comm; points into the shown path
  bool is_secure = false;
};
// Opens, checks and maps a program without touching the current process.
[[nodiscard]] Result<PreparedProgram> prepare_program(const PathContext& context, const Path* base,
                                                      std::string_view path, std::uint32_t flags,
                                                      std::string_view shown_path,
                                                      ProgramArguments& arguments,
                                                      const ProgramSetting& setting);

// The identity after exec: set-user-id and set-group-id bits, capabilities of root. ENOMEM.
[[nodiscard]] Result<RefPtr<Identity>> identity_for_program(const Identity& old, File& file,
                                                            bool no_new_privileges);
// Replaces a thread's identity and moves it to the account of its user.
void adopt_identity(Thread& thread, RefPtr<Identity> identity);

// A descriptor table that belongs to this thread alone and whose marked descriptors can be closed
// without memory; null: the one that it has is such. ENOMEM.
[[nodiscard]] Result<RefPtr<FileTable>> private_files(Thread& thread);

// Ends all other threads of the process; the current one becomes its leader. EAGAIN: another thread
// was first, or the process is being killed.
[[nodiscard]] Result<void> become_only_thread(Process& process, Thread& thread);

// EAGAIN where setuid took this user over RLIMIT_NPROC since the process's last exec.
[[nodiscard]] Result<void> check_process_limit(Thread& thread);

}  // namespace holstein
