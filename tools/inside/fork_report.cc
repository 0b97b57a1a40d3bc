// fork-report NTH FILE ARGV0 [ARGV...]: runs a program and writes, to standard output, what the
// page tables are like around its NTH fork. `./holstein pagetables` runs it inside.
//
// The report is a sequence of lines, some of them followed by as many bytes as they say:
//
//   moment before PARENT | after PARENT CHILD | apart PARENT CHILD WHO HOW   (proc/fork_watch.h)
//   text parent|child pagetables|maps BYTES        /proc/<pid>/pagetables or maps at that moment
//   status N                                       the program has ended: its wait status
//   error ERRNO WHAT                               instead of all that
//
// The program has the standard input; its standard output goes to standard error, because standard
// output is the report's.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

bool write_all(int file, const void* bytes, std::size_t size) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = write(file, at, size);
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    at += written;
    size -= static_cast<std::size_t>(written);
  }
  return true;
}

[[noreturn]] void give_up(int error, const std::string& what) {
  const std::string line = "error " + std::to_string(error) + " " + what + "\n";
  write_all(STDOUT_FILENO, line.data(), line.size());
  _exit(1);
}

void report(const std::string& text) {
  if (!write_all(STDOUT_FILENO, text.data(), text.size())) {
    _exit(1);
  }
}

// Up to the end of the file, or of one line with `one_line`. Empty where there is nothing (more).
std::string read_text(int file, bool one_line) {
  std::string text;
  char buffer[65536];
  while (!one_line || !text.ends_with('\n')) {
    const ssize_t got = read(file, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      break;
    }
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

void report_file(const char* role, int pid, const char* name) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  // A process that was killed is gone, with its tables: an empty text says so.
  const std::string text = file < 0 ? std::string() : read_text(file, false);
  if (file >= 0) {
    close(file);
  }
  report(std::string("text ") + role + " " + name + " " + std::to_string(text.size()) + "\n" +
         text);
}

void report_process(const char* role, int pid) {
  report_file(role, pid, "pagetables");
  report_file(role, pid, "maps");
}

void report_moments(int watch) {
  while (true) {
    const std::string line = read_text(watch, true);
    if (line.empty()) {
      return;
    }
    report("moment " + line);
    char moment[16] = {};
    int parent = 0;
    int child = 0;
    const int fields = std::sscanf(line.c_str(), "%15s %d %d", moment, &parent, &child);
    if (fields >= 2) {
      report_process("parent", parent);
    }
    if (fields >= 3) {
      report_process("child", child);
    }
  }
}

// Runs the program once `go` is closed by all others.
[[noreturn]] void run_program(const char* file, char** arguments, int go, int problem) {
  if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
    close(STDOUT_FILENO);
  }
  read_text(go, false);
  execv(file, arguments);
  const int error = errno;
  write_all(problem, &error, sizeof(error));
  _exit(127);
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      give_up(errno, "waitpid");
    }
  }
  return status;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    give_up(EINVAL, "fork-report wants NTH FILE ARGV0");
  }
  const char* file = arguments[2];
  int go[2];
  int problem[2];
  if (pipe2(go, O_CLOEXEC) < 0 || pipe2(problem, O_CLOEXEC) < 0) {
    give_up(errno, "pipe");
  }
  const pid_t program = fork();
  if (program < 0) {
    give_up(errno, "fork");
  }
  if (program == 0) {
    close(go[1]);
    run_program(file, arguments + 3, go[0], problem[1]);
  }
  close(go[0]);
  close(problem[1]);
  // What is typed to end the program must not end the report.
  for (const int signal : {SIGINT, SIGQUIT, SIGTSTP}) {
    std::signal(signal, SIG_IGN);
  }
  const std::string path = "/proc/" + std::to_string(program) + "/fork_watch";
  const int watch = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (watch < 0 || !write_all(watch, arguments[1], std::strlen(arguments[1]))) {
    const int error = errno;
    kill(program, SIGKILL);
    give_up(error, path);
  }
  close(go[1]);
  const std::string failed = read_text(problem[0], false);
  if (failed.size() == sizeof(int)) {
    int error = 0;
    std::memcpy(&error, failed.data(), sizeof(error));
    give_up(error, file);
  }
  report_moments(watch);
  close(watch);
  report("status " + std::to_string(wait_for(program)) + "\n");
  return 0;
}
