// execve: what a new program gets, what it keeps, and what is no program.
#include <elf.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

using Report = std::map<std::string, std::string>;

std::vector<const char*> pointers(const std::vector<std::string>& strings) {
  std::vector<const char*> result;
  for (const std::string& string : strings) {
    result.push_back(string.c_str());
  }
  result.push_back(nullptr);
  return result;
}

// Runs `execute`, which ends in the "@report" part of this program, and reads what that says.
Report report_of(const std::function<void()>& execute) {
  PipeEnds pipe = make_pipe(O_CLOEXEC);
  Child child([&] {
    REQUIRE(dup2(pipe.write_end.get(), STDOUT_FILENO) == STDOUT_FILENO);
    execute();
    REQUIRE(false && "exec came back");
  });
  pipe.write_end.reset();
  std::istringstream lines(read_all(pipe.read_end.get()));
  EXPECT_TRUE(exited_with(0, child.wait()));
  Report report;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find('=');
    report[line.substr(0, equals)] = line.substr(equals + 1);
  }
  report["child"] = std::to_string(child.pid());
  return report;
}

void execute(const std::string& path, const std::vector<std::string>& arguments,
             const std::vector<std::string>& environment = {}) {
  execve(path.c_str(), const_cast<char* const*>(pointers(arguments).data()),
         const_cast<char* const*>(pointers(environment).data()));
}

// The error of an exec that must fail.
int error_of_exec(const std::string& path, const std::vector<std::string>& arguments = {"x"}) {
  Shared<int> error;
  Child child([&] {
    execute(path, arguments);
    *error = errno;
    _exit(1);
  });
  const int status = child.wait();
  EXPECT_TRUE(exited_with(1, status)) << "the program ran";
  return *error;
}

TEST(Exec, ArgumentsAndEnvironmentArriveByteForByte) {
  const std::string odd = "\x01\xff\xfe with spaces \t and \"quotes\"";
  const std::string length(100000, 'x');
  const Report report = report_of([&] {
    execute(own_path(), {"@report", "", odd, length}, {"A=1", "", "NO_EQUALS", "B=" + length});
  });
  EXPECT_EQ(report.at("argc"), "4");
  EXPECT_EQ(report.at("argv0"), "@report");
  EXPECT_EQ(report.at("argv1"), "");
  EXPECT_EQ(report.at("argv2"), odd);
  EXPECT_EQ(report.at("argv3"), length);
  EXPECT_EQ(report.at("argv_ends"), "1");
  EXPECT_EQ(report.at("envc"), "4");
  EXPECT_EQ(report.at("env0"), "A=1");
  EXPECT_EQ(report.at("env2"), "NO_EQUALS");
  EXPECT_EQ(report.at("env3"), "B=" + length);
}

TEST(Exec, ManyArgumentsArrive) {
  std::vector<std::string> arguments(5000, "argument");
  arguments[0] = "@report";
  const Report report = report_of([&] { execute(own_path(), arguments); });
  EXPECT_EQ(report.at("argc"), "5000");
  EXPECT_EQ(report.at("argv4999"), "argument");
}

TEST(Exec, WithoutArgumentsThereIsAnEmptyOne) {
  const Report report = report_of([] { call(SYS_execve, own_path().c_str(), nullptr, nullptr); });
  EXPECT_EQ(report.at("argc"), "1");
  EXPECT_EQ(report.at("argv0"), "");
  EXPECT_EQ(report.at("envc"), "0");
}

TEST(Exec, AuxiliaryVectorIsComplete) {
  const Report report = report_of([] { execute(own_path(), {"@report"}); });
  const auto aux = [&](unsigned long type) {
    const auto found = report.find("aux" + std::to_string(type));
    return found == report.end() ? std::string("missing") : found->second;
  };
  EXPECT_EQ(aux(AT_PAGESZ), "4096");
  EXPECT_EQ(aux(AT_PHENT), "56");
  EXPECT_EQ(aux(AT_UID), std::to_string(getuid()));
  EXPECT_EQ(aux(AT_EUID), std::to_string(geteuid()));
  EXPECT_EQ(aux(AT_GID), std::to_string(getgid()));
  EXPECT_EQ(aux(AT_EGID), std::to_string(getegid()));
  EXPECT_EQ(aux(AT_SECURE), "0");
  EXPECT_EQ(aux(AT_CLKTCK), "100");
  EXPECT_EQ(aux(AT_FLAGS), "0");
  for (unsigned long type : {AT_PHDR, AT_PHNUM, AT_ENTRY, AT_BASE, AT_HWCAP}) {
    EXPECT_NE(aux(type), "missing") << type;
  }
  EXPECT_EQ(report.at("execfn"), own_path());
  EXPECT_EQ(report.at("platform"), "x86_64");
  EXPECT_EQ(report.at("random").size(), 32u);
  EXPECT_EQ(report.at("stack_is_aligned"), "1");
  const Report again = report_of([] { execute(own_path(), {"@report"}); });
  EXPECT_NE(report.at("random"), again.at("random"));
}

TEST(Exec, ProcessStaysTheSameAndIsNamedAfterTheFile) {
  TempFolder folder;
  ASSERT_EQ(symlink(own_path().c_str(), (folder / "a_rather_long_name").c_str()), 0);
  const Report report = report_of([&] { execute(folder / "a_rather_long_name", {"@report"}); });
  EXPECT_EQ(report.at("pid"), report.at("child"));
  EXPECT_EQ(report.at("name"), "a_rather_long_n");
}

TEST(Exec, DescriptorsStayOpenUnlessMarked) {
  Descriptor kept(open("/dev/null", O_RDONLY));
  Descriptor marked(open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_LT(marked.get(), 32);
  const Report report = report_of([] { execute(own_path(), {"@report"}); });
  EXPECT_TRUE(report.contains("descriptor" + std::to_string(kept.get())));
  EXPECT_FALSE(report.contains("descriptor" + std::to_string(marked.get())));
  EXPECT_EQ(fcntl(marked.get(), F_GETFD), FD_CLOEXEC) << "the parent's table was shared";
}

TEST(Exec, HandlersAreResetIgnoredOnesMaskAndPendingOnesStay) {
  const Report report = report_of([] {
    signal(SIGUSR1, [](int) {});
    signal(SIGUSR2, SIG_IGN);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGHUP);
    sigprocmask(SIG_BLOCK, &mask, nullptr);
    raise(SIGHUP);
    Mapping stack(16 * kPage);
    const stack_t alternate = {.ss_sp = stack.data(), .ss_flags = 0, .ss_size = stack.size()};
    sigaltstack(&alternate, nullptr);
    execute(own_path(), {"@report"});
  });
  EXPECT_FALSE(report.contains("signal10"));
  EXPECT_EQ(report.at("signal12"), "ignored");
  EXPECT_TRUE(report.contains("blocked1"));
  EXPECT_TRUE(report.contains("pending1"));
  EXPECT_EQ(report.at("altstack"), "none");
}

TEST(Exec, ByAThreadEndsTheOthersAndKeepsThePid) {
  const Report report = report_of([] {
    static const std::string path = own_path();
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          execute(path, {"@report"});
          return nullptr;
        },
        nullptr);
    for (;;) {
      pause();
    }
  });
  EXPECT_EQ(report.at("pid"), report.at("child"));
}

TEST(Exec, AfterVforkLeavesTheParentsMemoryAlone) {
  Mapping memory(8 * kPage);
  fill(memory.data(), memory.size(), 1);
  const std::string path = own_path();
  const char* const arguments[] = {"@exit", "33", nullptr};
  const pid_t child = vfork();
  if (child == 0) {
    call(SYS_execve, path.c_str(), arguments, arguments + 2);
    raw_call(SYS_exit_group, 1);
    __builtin_unreachable();
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(exited_with(33, status));
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

TEST(Exec, OfAnOpenFileByItsDescriptor) {
  const Report report = report_of([] {
    const int file = open(own_path().c_str(), O_PATH | O_CLOEXEC);
    const char* const arguments[] = {"@report", nullptr};
    call(SYS_execveat, file, "", arguments, arguments + 1, AT_EMPTY_PATH);
  });
  EXPECT_EQ(report.at("argv0"), "@report");
  EXPECT_EQ(report.at("execfn").substr(0, 8), "/dev/fd/");
}

// ---- Scripts ------------------------------------------------------------------------------------

TEST(Script, GetsItsInterpretersArgumentItsPathAndTheRest) {
  TempFolder folder;
  write_file(folder / "script", "#! \t" + own_path() + " \t@report  one argument \nrest\n", 0755);
  const Report report =
      report_of([&] { execute(folder / "script", {"ignored", "first", "second"}); });
  EXPECT_EQ(report.at("argc"), "5");
  EXPECT_EQ(report.at("argv0"), own_path());
  EXPECT_EQ(report.at("argv1"), "@report  one argument");
  EXPECT_EQ(report.at("argv2"), folder / "script");
  EXPECT_EQ(report.at("argv3"), "first");
  EXPECT_EQ(report.at("argv4"), "second");
  EXPECT_EQ(report.at("name"), "script");
}

TEST(Script, MayBeItsOwnInterpretersInterpreter) {
  TempFolder folder;
  write_file(folder / "inner", "#!" + own_path() + " @report\n", 0755);
  write_file(folder / "outer", "#!" + (folder / "inner") + " x\n", 0755);
  const Report report = report_of([&] { execute(folder / "outer", {"outer", "y"}); });
  EXPECT_EQ(report.at("argv2"), folder / "inner");
  EXPECT_EQ(report.at("argv3"), "x");
  EXPECT_EQ(report.at("argv4"), folder / "outer");
  EXPECT_EQ(report.at("argv5"), "y");
}

TEST(Script, WithoutAnEndOfLineWorks) {
  TempFolder folder;
  write_file(folder / "script", "#!" + own_path() + " @report", 0755);
  EXPECT_EQ(report_of([&] { execute(folder / "script", {"x"}); }).at("argc"), "3");
}

TEST(Script, ThatIsWrongIsRefused) {
  TempFolder folder;
  const std::string script = folder / "script";
  write_file(script, "#!/no/such/interpreter\n", 0755);
  EXPECT_EQ(error_of_exec(script), ENOENT);
  write_file(script, "#!\n", 0755);
  EXPECT_EQ(error_of_exec(script), ENOEXEC);
  write_file(script, "#!   \n", 0755);
  EXPECT_EQ(error_of_exec(script), ENOEXEC);
  write_file(script, "#!/" + std::string(300, 'a') + "\n", 0755);
  EXPECT_EQ(error_of_exec(script), ENOEXEC);
  write_file(script, "#!" + script + "\n", 0755);
  EXPECT_EQ(error_of_exec(script), ELOOP);
  write_file(script, "echo no interpreter line\n", 0755);
  EXPECT_EQ(error_of_exec(script), ENOEXEC);
  write_file(folder / "not_executable", "x", 0644);
  write_file(script, "#!" + (folder / "not_executable") + "\n", 0755);
  EXPECT_EQ(error_of_exec(script), EACCES);
}

// ---- Errors -------------------------------------------------------------------------------------

TEST(Exec, PathsThatLeadNowhere) {
  TempFolder folder;
  write_file(folder / "file", "x", 0755);
  write_file(folder / "no_rights", "x", 0644);
  ASSERT_EQ(symlink("loop", (folder / "loop").c_str()), 0);
  EXPECT_EQ(error_of_exec(folder / "missing"), ENOENT);
  EXPECT_EQ(error_of_exec(""), ENOENT);
  EXPECT_EQ(error_of_exec(folder / "file/below"), ENOTDIR);
  EXPECT_EQ(error_of_exec(folder.path()), EACCES);
  EXPECT_EQ(error_of_exec(folder / "no_rights"), EACCES);
  EXPECT_EQ(error_of_exec(folder / "loop"), ELOOP);
  EXPECT_EQ(error_of_exec("/" + std::string(5000, 'a')), ENAMETOOLONG);
  EXPECT_EQ(error_of_exec("/tmp/" + std::string(256, 'a')), ENAMETOOLONG);
  EXPECT_EQ(error_of_exec("/dev/null"), EACCES);
}

TEST(Exec, ArgumentsThatAreTooLong) {
  EXPECT_EQ(error_of_exec(own_path(), {"@exit", std::string(128 * 1024, 'x')}), E2BIG);
  EXPECT_EQ(error_of_exec(own_path(), std::vector<std::string>(100, std::string(100000, 'x'))),
            E2BIG);
  // The longest that fits: 128 KiB with its zero.
  const Report report =
      report_of([] { execute(own_path(), {"@report", std::string(128 * 1024 - 1, 'x')}); });
  EXPECT_EQ(report.at("argv1").size(), 128u * 1024 - 1);
}

TEST(Exec, ArgumentsAreBoundedByAQuarterOfTheStacksLimit) {
  EXPECT_TRUE(passes_in_child([] {
    const rlimit limit = {kMiB, kMiB};
    REQUIRE(setrlimit(RLIMIT_STACK, &limit) == 0);
    std::vector<std::string> arguments(3, std::string(100000, 'x'));
    arguments[0] = "@exit";
    const std::string path = own_path();
    Child fits([&] {
      arguments[2] = "0";
      execute(path, arguments);
      _exit(1);
    });
    REQUIRE(fits.wait() == 0);
    arguments.resize(6, std::string(100000, 'x'));
    REQUIRE(error_of_exec(path, arguments) == E2BIG);
  }));
}

TEST(Exec, PointersThatAreBad) {
  const std::string path = own_path();
  const char* const good[] = {"@exit", "0", nullptr};
  const char* const bad_string[] = {"@exit", reinterpret_cast<const char*>(0xffffffff80000000),
                                    nullptr};
  EdgeMapping edge;
  // An array that runs into the unmapped page instead of ending.
  auto** const unending = reinterpret_cast<const char**>(edge.end()) - 2;
  unending[0] = "@exit";
  unending[1] = "0";
  EXPECT_EQ(call(SYS_execve, nullptr, good, good + 2), -EFAULT);
  EXPECT_EQ(call(SYS_execve, 0xffffffff80000000, good, good + 2), -EFAULT);
  EXPECT_EQ(call(SYS_execve, path.c_str(), bad_string, good + 2), -EFAULT);
  EXPECT_EQ(call(SYS_execve, path.c_str(), unending, good + 2), -EFAULT);
  EXPECT_EQ(call(SYS_execve, path.c_str(), good, bad_string), -EFAULT);
  EXPECT_EQ(call(SYS_execve, path.c_str(), 0x8000000000000000, good + 2), -EFAULT);
}

std::string copy_of_own_program(const TempFolder& folder) {
  const std::string copy = folder / "copy";
  write_file(copy, read_file(own_path()), 0755);
  return copy;
}

TEST(Exec, AFileThatIsBeingWrittenCannotRunNorARunningOneBeWritten) {
  TempFolder folder;
  const std::string copy = copy_of_own_program(folder);
  {
    Descriptor writer(open(copy.c_str(), O_WRONLY));
    EXPECT_EQ(error_of_exec(copy), ETXTBSY);
  }
  PipeEnds started = make_pipe(O_CLOEXEC);
  Child runner([&] {
    execute(copy, {"@pause"});
    REQUIRE(false);
  });
  started.write_end.reset();
  // The other end was closed by the exec.
  EXPECT_EQ(read_all(started.read_end.get()), "");
  EXPECT_EQ(open(copy.c_str(), O_WRONLY), -1);
  EXPECT_EQ(errno, ETXTBSY);
  EXPECT_EQ(truncate(copy.c_str(), 0), -1);
  EXPECT_EQ(errno, ETXTBSY);
  kill(runner.pid(), SIGKILL);
  runner.wait();
  Descriptor writer(open(copy.c_str(), O_WRONLY));
  EXPECT_GE(writer.get(), 0);
}

TEST(Exec, AFailureLeavesEverythingAsItWas) {
  EXPECT_TRUE(passes_in_child([] {
    Mapping memory(4 * kPage);
    fill(memory.data(), memory.size(), 1);
    signal(SIGUSR1, [](int) {});
    const int marked = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (const char* path : {"/no/such/file", "/", "/dev/null"}) {
      execute(path, {"x"});
    }
    REQUIRE(is_filled(memory.data(), memory.size(), 1));
    REQUIRE(fcntl(marked, F_GETFD) == FD_CLOEXEC);
    struct sigaction action;
    sigaction(SIGUSR1, nullptr, &action);
    REQUIRE(action.sa_handler != SIG_DFL);
  }));
}

}  // namespace
}  // namespace holstein::guest
