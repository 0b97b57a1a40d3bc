// execve: finds the program, prepares all that can fail, and then switches over.
#include "proc/exec.h"

#include <algorithm>
#include <atomic>

#include "fs/abi.h"
#include "fs/mount.h"
#include "fs/operations.h"
#include "fs/path.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "proc/exec_parts.h"
#include "proc/exit.h"
#include "proc/fork_watch.h"
#include "proc/process.h"
#include "proc/program_image.h"
#include "proc/thread.h"

namespace holstein {

namespace {

constinit std::atomic<bool> randomizes = true;

constexpr std::uint32_t kAtSymlinkNoFollow = 0x100, kAtEmptyPath = 0x1000;

std::string_view base_name(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// What a program says of its interpreter, as text.
Result<String> interpreter_path(const ElfFile& elf) {
  Vec<char> buffer;
  TRY(buffer.resize(elf.image.interpreter_bytes));
  const std::span<char> text = buffer.span();
  TRY_ASSIGN(const std::size_t bytes,
             read_head(*elf.file, elf.image.interpreter_offset, std::as_writable_bytes(text)));
  if (bytes != text.size() || text.back() != '\0') {
    return fail(Errno::kENOEXEC);
  }
  return String::from(std::string_view(text.data()));
}

Result<ElfFile> open_interpreter(const PathContext& context, std::string_view path) {
  TRY_ASSIGN(RefPtr<File> file, vfs::open_executable(context, nullptr, path, 0));
  Result<ElfFile> elf = read_elf(std::move(file));
  if (!elf.has_value()) {
    return fail(elf.error() == Errno::kENOEXEC ? Errno::kELIBBAD : elf.error());
  }
  return elf;
}

}  // namespace

void set_aslr(bool enabled) { randomizes.store(enabled, std::memory_order_relaxed); }
bool aslr_enabled() { return randomizes.load(std::memory_order_relaxed); }

Result<PreparedProgram> prepare_program(const PathContext& context, const Path* base,
                                        std::string_view path, std::uint32_t flags,
                                        std::string_view shown_path, ProgramArguments& arguments,
                                        const ProgramSetting& setting) {
  PreparedProgram prepared;
  TRY_ASSIGN(RefPtr<File> file, vfs::open_executable(context, base, path, flags));
  prepared.executed = RefPtr<ExecutedFile>::adopt(new (std::nothrow) ExecutedFile);
  if (!prepared.executed) {
    return fail(Errno::kENOMEM);
  }
  TRY(arguments.ensure_first_argument());
  prepared.name = base_name(shown_path);

  // Scripts within scripts, then the program itself.
  String interpreter;
  std::string_view script = shown_path;
  for (unsigned depth = 0;; ++depth) {
    TRY_ASSIGN(prepared.executed->denial, WriteDenial::acquire(file->inode()));
    ScriptHead head;
    TRY_ASSIGN(const bool is_script, read_script_head(*file, head));
    if (!is_script) {
      break;
    }
    if (depth == kMaxInterpreters) {
      return fail(Errno::kELOOP);
    }
    TRY(arguments.put_interpreter_first(head.interpreter, head.option, script));
    interpreter.clear();
    TRY(interpreter.append(head.interpreter));
    TRY_ASSIGN(file, vfs::open_executable(context, nullptr, interpreter.view(), 0));
    script = interpreter.view();
  }
  prepared.executed->path = file->path();
  TRY_ASSIGN(prepared.identity,
             identity_for_program(*setting.identity, *file, setting.no_new_privileges));

  ProgramRequest request;
  TRY_ASSIGN(request.program, read_elf(std::move(file)));
  if (request.program.image.interpreter_bytes != 0) {
    TRY_ASSIGN(const String text, interpreter_path(request.program));
    TRY_ASSIGN(request.interpreter, open_interpreter(context, text.view()));
  }
  request.arguments = &arguments;
  request.shown_path = shown_path;
  request.identity = prepared.identity.get();
  request.is_secure = prepared.identity->uid != prepared.identity->euid ||
                      prepared.identity->gid != prepared.identity->egid;
  request.limits = setting.limits;
  request.randomize = aslr_enabled() && (setting.personality & kAddrNoRandomize) == 0
                          ? Randomize::kYes
                          : Randomize::kNo;
  prepared.is_secure = request.is_secure;
  TRY_ASSIGN(prepared.image, build_program(request));
  return prepared;
}

namespace {

// Gives the process its new program. All that can fail has been done, but for what needs the other
// threads to be gone.
Result<void> switch_program(Thread& thread, PreparedProgram& prepared) {
  Process& process = *thread.process;
  TRY_ASSIGN(RefPtr<FileTable> files, private_files(thread));
  show_end(process, "exec");
  TRY(become_only_thread(process, thread));

  // From here on there is no way back: a failure kills the process. It dies on its way out of the
  // system call, so that everything prepared is given back first.
  Result<RefPtr<SignalActions>> actions = process.own_actions().fork_for_exec();
  if (!actions.has_value()) {
    SpinGuard links(process_links);
    SpinGuard guard(process.signal_lock);
    begin_group_exit_locked(process, signaled_status(kSigKill));
    return fail(actions.error());
  }
  const RefPtr<AddressSpace> old = process.space();
  release_memory_claims(thread, old->reference_count() > 2);
  process.exchange_space(prepared.image.space).reset();
  process.own_space()->activate();
  process.exchange_actions(std::move(*actions)).reset();
  process.exchange_executable(std::move(prepared.executed)).reset();
  process.set_auxiliary_vector(prepared.image.auxiliary);
  delete_all_timers(process);
  if (files) {
    thread.set_files(std::move(files));
  }
  thread.own_files().close_marked();

  const bool is_secure = prepared.is_secure;
  process.dumpable.store(!is_secure, std::memory_order_relaxed);
  adopt_identity(thread, std::move(prepared.identity));
  thread.keep_capabilities = false;
  thread.signal_stack = SignalStack{};
  thread.restart = RestartBlock{};
  thread.set_name(prepared.name);
  {
    SpinGuard links(process_links);
    process.has_execed = true;
    process.exit_signal = kSigChld;
    if (is_secure) {
      thread.parent_death_signal = 0;
    }
  }
  port::context_reset_user(thread.context);
  return {};
}

}  // namespace

Result<void> execute_program(const Path* base, std::string_view path, std::string_view shown_path,
                             std::uint32_t flags, std::uint64_t argv, std::uint64_t envp,
                             UserRegisters& registers) {
  if ((flags & ~(kAtSymlinkNoFollow | kAtEmptyPath)) != 0) {
    return fail(Errno::kEINVAL);
  }
  const std::uint32_t open_flags = ((flags & kAtSymlinkNoFollow) != 0 ? kOpenNoFollow : 0) |
                                   ((flags & kAtEmptyPath) != 0 ? kResolveEmpty : 0);
  Thread& thread = current_thread();
  Process& process = *thread.process;
  TRY(check_process_limit(thread));
  ProgramArguments arguments(current_limit(Resource::kStack));
  TRY(arguments.read_arguments(argv));
  TRY(arguments.read_environment(envp));
  const ProgramSetting setting{.identity = &thread.own_identity(),
                               .limits = process_memory_limits(process),
                               .personality = process.personality.load(),
                               .no_new_privileges = thread.no_new_privileges};
  TRY_ASSIGN(PreparedProgram prepared, prepare_program(current_path_context(), base, path,
                                                       open_flags, shown_path, arguments, setting));
  TRY(switch_program(thread, prepared));
  registers = fresh_user_registers(prepared.image.entry, prepared.image.stack_pointer);
  return {};
}

}  // namespace holstein
