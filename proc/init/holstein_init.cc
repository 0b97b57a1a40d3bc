// Process 1: runs the job's program, adopts and reaps orphans, tells the host how the program
// ended, and switches the machine off. The kernel has mounted /, /dev and /proc before.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>

#include "proc/init/job.h"

namespace holstein {
namespace {

constexpr const char* kJobFile = "/etc/holstein/job";
constexpr const char* kControl = "/dev/host/control";
constexpr const char* kTerminal = "/dev/hvc0";  // opening /dev/console makes no session its own
constexpr const char* kStreamFiles[3] = {"/dev/host/stdin", "/dev/host/stdout", "/dev/host/stderr"};
constexpr int kFirstOwnDescriptor = 10;  // out of the way of 0 to 2

// What the child tells when it could not start the program.
struct StartFailure {
  int error;
  char what[64];
};

bool write_all(int descriptor, const void* bytes, std::size_t size) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = write(descriptor, at, size);
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

// The descriptor moved to 10 or above, close-on-exec; -1 and errno on failure.
int open_high(const char* path, int flags) {
  const int opened = open(path, flags | O_CLOEXEC);
  if (opened < 0 || opened >= kFirstOwnDescriptor) {
    return opened;
  }
  const int moved = fcntl(opened, F_DUPFD_CLOEXEC, kFirstOwnDescriptor);
  close(opened);
  return moved;
}

class Host {
 public:
  void connect() { control_ = open_high(kControl, O_WRONLY); }
  void report_exit(int status) {
    char text[32];
    send(text, snprintf(text, sizeof(text), "exit %u\n", static_cast<unsigned>(status)));
  }
  void report_error(int error, const std::string& what) {
    char text[1024];
    const int length = snprintf(text, sizeof(text), "error %d %s\n", error, what.c_str());
    send(text,
         length < static_cast<int>(sizeof(text)) ? length : static_cast<int>(sizeof(text)) - 1);
  }

 private:
  void send(const char* text, int length) {
    // Without a control channel (a serial console) there is nobody to tell.
    if (control_ >= 0) {
      write_all(control_, text, static_cast<std::size_t>(length));
    }
  }
  int control_ = -1;
};

bool read_file(const char* path, std::string& to) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return false;
  }
  char buffer[65536];
  ssize_t got = 0;
  while ((got = read(file, buffer, sizeof(buffer))) > 0) {
    to.append(buffer, static_cast<std::size_t>(got));
  }
  const int error = errno;
  close(file);
  errno = error;
  return got == 0;
}

// ---- In the child
// -----------------------------------------------------------------------------------

[[noreturn]] void give_up(int report, const char* what) {
  StartFailure failure{.error = errno, .what = {}};
  snprintf(failure.what, sizeof(failure.what), "%s", what);
  write_all(report, &failure, sizeof(failure));
  _exit(127);
}

void set_up_streams(const Job& job, int report) {
  // Streams first: whoever opens standard input first has the keyboard.
  int opened[3] = {-1, -1, -1};
  bool wants_terminal = false;
  for (int i = 0; i < 3; ++i) {
    if (job.streams[i] == StreamKind::kStream) {
      opened[i] = open_high(kStreamFiles[i], i == 0 ? O_RDONLY : O_WRONLY);
      if (opened[i] < 0) {
        give_up(report, kStreamFiles[i]);
      }
    }
    wants_terminal = wants_terminal || job.streams[i] == StreamKind::kTerminal;
  }
  if (wants_terminal) {
    const int terminal = open_high(kTerminal, O_RDWR);
    // Opening /dev/console does not make it the session's controlling terminal; this does.
    if (terminal < 0 || ioctl(terminal, TIOCSCTTY, 0) < 0) {
      give_up(report, kTerminal);
    }
    if (job.rows != 0 && job.columns != 0) {
      const winsize size{.ws_row = job.rows, .ws_col = job.columns, .ws_xpixel = 0, .ws_ypixel = 0};
      ioctl(terminal, TIOCSWINSZ, &size);
    }
    for (int i = 0; i < 3; ++i) {
      if (job.streams[i] == StreamKind::kTerminal) {
        opened[i] = terminal;
      }
    }
  }
  for (int i = 0; i < 3; ++i) {
    if (opened[i] >= 0 && dup2(opened[i], i) < 0) {
      give_up(report, "dup2");
    }
  }
}

[[noreturn]] void run_program(const Job& job, int report) {
  setsid();
  set_up_streams(job, report);
  if (chdir(job.directory.c_str()) < 0) {
    give_up(report, job.directory.c_str());
  }
  std::vector<char*> arguments;
  for (const std::string& argument : job.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  std::vector<char*> environment;
  for (const std::string& variable : job.environment) {
    environment.push_back(const_cast<char*>(variable.c_str()));
  }
  environment.push_back(nullptr);
  execve(job.program.c_str(), arguments.data(), environment.data());
  give_up(report, job.program.c_str());
}

// ---- In process 1
// -------------------------------------------------------------------------------------

// Starts the program. Its process id, or -1 with `failure` filled in.
pid_t start(const Job& job, StartFailure& failure) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) < 0) {
    failure = {.error = errno, .what = "pipe"};
    return -1;
  }
  for (int& end : report) {
    const int moved = fcntl(end, F_DUPFD_CLOEXEC, kFirstOwnDescriptor);
    close(end);
    end = moved;
  }
  const pid_t child = fork();
  if (child < 0) {
    failure = {.error = errno, .what = "fork"};
    return -1;
  }
  if (child == 0) {
    run_program(job, report[1]);
  }
  close(report[1]);
  // End of file without a word: the program runs.
  ssize_t got = 0;
  do {
    got = read(report[0], &failure, sizeof(failure));
  } while (got < 0 && errno == EINTR);
  close(report[0]);
  if (got == static_cast<ssize_t>(sizeof(failure))) {
    failure.what[sizeof(failure.what) - 1] = '\0';
    waitpid(child, nullptr, 0);
    return -1;
  }
  return child;
}

// Reaps whoever ends until `child` does; its status.
int wait_for(pid_t child) {
  while (true) {
    int status = 0;
    const pid_t ended = waitpid(-1, &status, 0);
    if (ended == child) {
      return status;
    }
    if (ended < 0 && errno != EINTR) {
      return 0;
    }
  }
}

// Nobody may write after the status has been reported.
void end_everybody_else() {
  constexpr int kMostMilliseconds = 2000;
  kill(-1, SIGKILL);
  for (int i = 0; i < kMostMilliseconds;) {
    const pid_t ended = waitpid(-1, nullptr, WNOHANG);
    if (ended < 0 && errno == ECHILD) {
      return;
    }
    if (ended == 0) {
      const timespec moment{.tv_sec = 0, .tv_nsec = 1'000'000};
      nanosleep(&moment, nullptr);
      ++i;
    }
  }
}

[[noreturn]] void power_off() {
  sync();
  reboot(RB_POWER_OFF);
  while (true) {
    pause();
  }
}

void run_job(Host& host) {
  std::string text;
  if (!read_file(kJobFile, text)) {
    host.report_error(errno, kJobFile);
    return;
  }
  std::string problem;
  const std::optional<Job> job = parse_job(text, problem);
  if (!job.has_value()) {
    host.report_error(EINVAL, problem);
    return;
  }
  StartFailure failure{};
  const pid_t child = start(*job, failure);
  if (child < 0) {
    host.report_error(failure.error, failure.what);
    return;
  }
  const int status = wait_for(child);
  end_everybody_else();
  host.report_exit(status);
}

}  // namespace
}  // namespace holstein

int main() {
  holstein::Host host;
  host.connect();
  holstein::run_job(host);
  holstein::power_off();
}
