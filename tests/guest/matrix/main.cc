// The matrix: every system call × every pointer that it takes × every kind of pointer × memory that
// is there, that has to be faulted in, and that a fork shares. Each case is a process of its own.
//
//   matrix TABLE [SHARE [CALL]]
//
// TABLE is what kernel/syscalls/print_table.cc prints; a SHARE of N runs every Nth case only, and a
// CALL that one call.
//
// A line for each case: call, argument, kind, state, outcome. The outcomes on Linux are what the
// outcomes on Holstein are compared with (tests/boot/matrix_test.py).
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/guest/matrix/leaks.h"
#include "tests/guest/matrix/memory_case.h"
#include "tests/guest/matrix/plans.h"

namespace holstein::guest {
namespace {

constexpr uid_t kNobody = 65534;
constexpr int kEndStatus = 42;  // of the program where it executed itself
// A case that has not ended by then blocks, or the machine is busy: it has more time once again.
constexpr timeval kBlocked = {.tv_sec = 0, .tv_usec = 300'000};
constexpr timeval kBlockedForSure = {.tv_sec = 2, .tv_usec = 0};

[[noreturn]] void fatal(const char* what) {
  std::perror(what);
  std::_Exit(2);
}

void require(bool condition, const char* what) {
  if (!condition) {
    fatal(what);
  }
}

// ---- What a case begins with --------------------------------------------------------------------

void put_file(const char* name, int fd, std::size_t bytes) {
  static char contents[8192];
  std::memset(contents, 'f', sizeof(contents));
  const int file = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
  require(file >= 0 && write(file, contents, bytes) == static_cast<ssize_t>(bytes) &&
              lseek(file, 0, SEEK_SET) == 0 && dup3(file, fd, O_CLOEXEC) == fd,
          name);
  close(file);
}

// Files and descriptors as plans.h promises them, in the current folder.
void make_files() {
  unlink("new");
  rmdir("new");
  unlink("link");
  unlink("file");
  mkdir("folder", 0700);
  put_file("file", kFileFd, 8192);
  put_file("other", kOtherFileFd, 0);
  require(symlink("file", "link") == 0, "link");
  const int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  require(folder >= 0 && dup3(folder, kFolderFd, O_CLOEXEC) == kFolderFd, "folder");
  close(folder);
  int ends[2];
  static const char data[256] = {};
  require(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0 &&
              write(ends[1], data, sizeof(data)) == sizeof(data) &&
              dup3(ends[0], kPipeReadFd, O_CLOEXEC) == kPipeReadFd &&
              dup3(ends[1], kPipeWriteFd, O_CLOEXEC) == kPipeWriteFd,
          "pipe");
  close(ends[0]);
  close(ends[1]);
}

// Does the call do anything with files, so that the case needs fresh ones?
bool uses_files(const TableRow& row) {
  return std::ranges::any_of(row.parameters, [](const Parameter& parameter) {
    return is_string(parameter.kind) || parameter.kind == Kind::kDescriptor ||
           parameter.kind == Kind::kDirectory;
  });
}

void make_playground() {
  require(mmap(reinterpret_cast<void*>(kPlayground), kPlaygroundBytes, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED,
          "playground");
}

// ---- One case -----------------------------------------------------------------------------------

// A pointer to try: argument `index`, or inner pointer `index` of the plan.
struct Target {
  bool is_inner;
  std::size_t index;
};

struct Case {
  const TableRow& row;
  const Plan& plan;
  const std::vector<Argument>& arguments;
  Target target;
  const PointerKind& kind;
  State state;

  const Argument& subject() const {
    return target.is_inner ? plan.inners[target.index].object : arguments[target.index];
  }
  bool is_address() const { return subject().is == Argument::Is::kAddress; }
  bool has_length() const {
    if (target.is_inner) {
      return plan.inners[target.index].length_offset != Inner::kNoLength;
    }
    return length_argument() < arguments.size();
  }
  // The argument that counts the subject's elements; none: arguments.size().
  std::size_t length_argument() const {
    for (const std::size_t next : {target.index + 1, target.index - 1}) {
      if (next < arguments.size() && arguments[next].is == Argument::Is::kLength) {
        return next;
      }
    }
    return arguments.size();
  }
};

// What the process of a case tells its parent.
struct Report {
  bool returned;
  bool intact;
  bool changed;
  long result;
  std::uint64_t kernel_word;  // in anything that the process can see; 0: none
};
Report* report;
LeakSearch leak_search;

// Good memory for the objects that are not the subject.
class Scratch {
 public:
  void clear() { used_ = 0; }
  std::uint64_t place(const std::string& bytes) {
    char* const at = memory_ + used_;
    std::memcpy(at, bytes.data(), bytes.size());
    used_ = (used_ + bytes.size() + 63) / 64 * 64;
    if (used_ > sizeof(memory_)) {
      std::abort();
    }
    return reinterpret_cast<std::uint64_t>(at);
  }

 private:
  alignas(64) char memory_[64 << 10];
  std::size_t used_ = 0;
};

template <class T>
void patch(std::string& bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

std::uint64_t plain_value(const Argument& argument) {
  switch (argument.is) {
    case Argument::Is::kSelf:
      return static_cast<std::uint64_t>(getpid());
    case Argument::Is::kTimer:
      return static_cast<std::uint64_t>(prepared_timer());
    default:
      return argument.number;
  }
}

// The registers of the call, with everything in memory where it belongs. `pointer` is the
// subject's; its object was placed already, unless it has inner pointers, which are added here.
void fill_registers(const Case& test, const Pointer& pointer, std::uint64_t (&registers)[6]) {
  static Scratch scratch;
  std::vector<std::string> objects;
  for (const Argument& argument : test.arguments) {
    objects.push_back(argument.bytes);
  }
  for (std::size_t i = 0; i < test.plan.inners.size(); ++i) {
    const Inner& inner = test.plan.inners[i];
    const bool is_subject = test.target.is_inner && test.target.index == i;
    patch(objects[inner.of], inner.offset,
          is_subject ? pointer.address : scratch.place(inner.object.bytes));
    if (is_subject && pointer.has_length) {
      patch(objects[inner.of], inner.length_offset, pointer.length);
    }
  }
  for (std::size_t i = 0; i < test.arguments.size(); ++i) {
    const Argument& argument = test.arguments[i];
    if (!test.target.is_inner && test.target.index == i) {
      registers[i] = pointer.address;
    } else if (argument.is == Argument::Is::kObject) {
      registers[i] = scratch.place(objects[i]);
    } else {
      registers[i] = plain_value(argument);
    }
  }
  if (!test.target.is_inner && pointer.has_length) {
    registers[test.length_argument()] = pointer.length;
  }
}

// The bytes of the subject, with the addresses of what it points to: good memory of this program.
std::string subject_bytes(const Case& test) {
  static Scratch scratch;
  scratch.clear();
  std::string bytes = test.subject().bytes;
  if (!test.target.is_inner) {
    for (const Inner& inner : test.plan.inners) {
      if (inner.of == test.target.index) {
        patch(bytes, inner.offset, scratch.place(inner.object.bytes));
      }
    }
  }
  return bytes;
}

[[noreturn]] void run_case(const Case& test, const std::string& bytes, int backing,
                           const Pointer* placed, timeval most) {
  if (uses_files(test.row)) {
    make_files();
  }
  const pid_t self = getpid();
  if (test.plan.prepare != nullptr) {
    test.plan.prepare();
  }
  const Pointer pointer = placed != nullptr ? *placed
                                            : place(test.kind, test.state, bytes,
                                                    test.subject().element_bytes, backing);
  std::uint64_t registers[6] = {};
  fill_registers(test, pointer, registers);
  const itimerval limit = {.it_interval = {}, .it_value = most};
  setitimer(ITIMER_REAL, &limit, nullptr);
  RegistersAfter after;
  const long result = call_and_keep_registers(test.row.number, registers, after);
  if (getpid() != self) {
    _exit(0);  // the child of a fork or clone
  }
  report->result = result;
  report->intact = surroundings_intact(test.kind, pointer, bytes.size());
  report->changed = object_changed(test.kind, pointer, bytes);
  report->kernel_word = kernel_word_in(test.kind, pointer, bytes);
  if (report->kernel_word == 0) {
    const std::uint64_t own[] = {registers[0], registers[1], registers[2],    registers[3],
                                 registers[4], registers[5], pointer.address, pointer.length};
    report->kernel_word = leak_search.find(own, after);
  }
  report->returned = true;
  // What the call started ends before its parent does, and its end writes nothing to us.
  while (waitpid(-1, nullptr, __WALL) > 0) {
  }
  _exit(0);
}

std::string outcome_of(const Case& test, int status) {
  if (!report->returned) {
    if (WIFSIGNALED(status)) {
      return WTERMSIG(status) == SIGALRM ? "blocks"
                                         : "dies of signal " + std::to_string(WTERMSIG(status));
    }
    return "ends with " + std::to_string(WEXITSTATUS(status));
  }
  std::string outcome;
  if (report->result >= 0 || report->result < -4095) {
    outcome = test.plan.value_varies ? "good" : std::to_string(report->result);
  } else {
    const char* const name = strerrorname_np(static_cast<int>(-report->result));
    outcome = name != nullptr ? name : std::to_string(report->result);
    // What failed calls write is compared, too.
    if (report->changed) {
      outcome += " changed";
    }
  }
  if (!report->intact) {
    outcome += " OVERRUN";
  }
  return outcome;
}

constexpr const char* kStateNames[] = {"present", "absent", "forked"};

std::string outcome_within(const Case& test, int backing, timeval most) {
  const std::string bytes = test.is_address() ? std::string(4096, '\0') : subject_bytes(test);
  *report = {};
  Pointer placed{};
  const bool is_forked = test.state == State::kForked;
  if (is_forked) {
    placed = place(test.kind, test.state, bytes, test.subject().element_bytes, backing);
  }
  std::fflush(stdout);
  const pid_t child = fork();
  require(child >= 0, "fork");
  if (child == 0) {
    run_case(test, bytes, backing, is_forked ? &placed : nullptr, most);
  }
  int status = 0;
  require(waitpid(child, &status, 0) == child, "waitpid");
  std::string outcome = outcome_of(test, status);
  if (is_forked && !arena_intact(test.kind, placed, bytes)) {
    outcome += " LEAKS TO THE PARENT";
  }
  return outcome;
}

void try_case(const Case& test, int backing) {
  std::string outcome = outcome_within(test, backing, kBlocked);
  if (outcome.starts_with("blocks")) {
    outcome = outcome_within(test, backing, kBlockedForSure);
  }
  std::string name = test.row.name;
  if (!test.plan.variant.empty()) {
    name += "/" + test.plan.variant;
  }
  const std::string argument = test.target.is_inner ? "inner" + std::to_string(test.target.index)
                                                    : "arg" + std::to_string(test.target.index);
  std::printf("%s %s %s %s: %s\n", name.c_str(), argument.c_str(), test.kind.name,
              kStateNames[static_cast<int>(test.state)], outcome.c_str());
  // Random bytes may look like anything.
  if (report->kernel_word != 0 && test.row.name != "getrandom") {
    std::printf("KERNEL WORD %#lx after %s %s %s\n", report->kernel_word, name.c_str(),
                argument.c_str(), test.kind.name);
  }
}

// ---- All cases ----------------------------------------------------------------------------------

// Every how manieth case runs, and the number of the next.
unsigned long share = 1;
unsigned long case_number = 0;

void try_target(const TableRow& row, const Plan& plan, const std::vector<Argument>& arguments,
                Target target, int backing) {
  for (const PointerKind& kind : pointer_kinds()) {
    for (const State state : {State::kPresent, State::kAbsent, State::kForked}) {
      const Case test = {row, plan, arguments, target, kind, state};
      const Argument& subject = test.subject();
      const Kind what = test.is_address() ? Kind::kAddress : subject.kind;
      if (applies(kind, state, what, subject.bytes.size(), test.has_length()) &&
          case_number++ % share == 0) {
        try_case(test, backing);
      }
    }
  }
}

void try_plan(const TableRow& row, const Plan& plan, int backing) {
  std::vector<Argument> arguments;
  for (std::size_t i = 0; i < row.parameters.size(); ++i) {
    arguments.push_back(
        default_argument(row.parameters[i], i == 0 ? nullptr : &row.parameters[i - 1]));
    for (const auto& [index, argument] : plan.arguments) {
      if (index == i) {
        arguments.back() = argument;
      }
    }
  }
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].is == Argument::Is::kObject || arguments[i].is == Argument::Is::kAddress) {
      try_target(row, plan, arguments, {.is_inner = false, .index = i}, backing);
    }
  }
  for (std::size_t i = 0; i < plan.inners.size(); ++i) {
    try_target(row, plan, arguments, {.is_inner = true, .index = i}, backing);
  }
}

bool takes_pointers(const TableRow& row) {
  return std::ranges::any_of(row.parameters, [](const Parameter& parameter) {
    return is_pointer(parameter.kind) || parameter.kind == Kind::kAddress ||
           parameter.kind == Kind::kRaw;
  });
}

bool has_row(const std::vector<TableRow>& table, const std::string& call) {
  return std::ranges::any_of(table, [&](const TableRow& row) { return row.name == call; });
}

// Whether plans and exclusions fit the table: none for a call that is not there, none missing where
// the table cannot say what a pointer is.
bool plans_fit(const std::vector<TableRow>& table) {
  bool fit = true;
  const auto complain = [&](const std::string& call, const char* what) {
    std::printf("MISFIT %s: %s\n", call.c_str(), what);
    fit = false;
  };
  for (const Plan& plan : plans()) {
    if (!has_row(table, plan.call)) {
      complain(plan.call, "has a plan and is not in the table");
    }
  }
  for (const Exclusion& exclusion : exclusions()) {
    if (!has_row(table, exclusion.call)) {
      complain(exclusion.call, "is excluded and is not in the table");
    }
  }
  for (const TableRow& row : table) {
    const bool has_raw = std::ranges::any_of(
        row.parameters, [](const Parameter& parameter) { return parameter.kind == Kind::kRaw; });
    const bool has_plan =
        std::ranges::any_of(plans(), [&](const Plan& plan) { return plan.call == row.name; });
    if (has_raw && !has_plan) {
      complain(row.name, "has an argument whose meaning the table does not know, and no plan");
    }
  }
  return fit;
}

void try_row(const TableRow& row, int backing) {
  const bool is_excluded =
      std::ranges::any_of(exclusions(), [&](const Exclusion& e) { return row.name == e.call; });
  if (is_excluded || !takes_pointers(row)) {
    return;
  }
  bool has_plan = false;
  for (const Plan& plan : plans()) {
    if (plan.call == row.name) {
      has_plan = true;
      try_plan(row, plan, backing);
    }
  }
  if (!has_plan) {
    try_plan(row, {.call = row.name, .variant = "", .arguments = {}}, backing);
  }
}

int run(const char* table_path, const char* only) {
  const std::vector<TableRow> table = read_table(table_path);
  if (!plans_fit(table)) {
    return 1;
  }
  char folder[] = "/tmp/matrix.XXXXXX";
  require(mkdtemp(folder) != nullptr && chmod(folder, 0777) == 0 && chdir(folder) == 0, folder);
  umask(022);
  // Some calls would change the machine if root made them.
  if (getuid() == 0) {
    require(setgroups(0, nullptr) == 0 && setresgid(kNobody, kNobody, kNobody) == 0 &&
                setresuid(kNobody, kNobody, kNobody) == 0,
            "giving up root");
  }
  prctl(PR_SET_DUMPABLE, 1);
  report = static_cast<Report*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const int backing = open("backing", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  require(report != MAP_FAILED && backing >= 0, "setting up");
  make_files();
  make_playground();
  leak_search.begin();
  for (const TableRow& row : table) {
    if (only == nullptr || row.name == only) {
      try_row(row, backing);
    }
  }
  for (const char* name : {"new", "link", "file", "other", "backing"}) {
    unlink(name);
  }
  rmdir("new");
  rmdir("folder");
  std::puts("END");
  return 0;
}

}  // namespace
}  // namespace holstein::guest

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "@end") == 0) {
    return holstein::guest::kEndStatus;
  }
  if (argc < 2 || argv[1][0] != '/') {
    return 43;
  }
  if (argc > 2) {
    holstein::guest::share = std::max(1ul, std::strtoul(argv[2], nullptr, 10));
  }
  return holstein::guest::run(argv[1], argc > 3 ? argv[3] : nullptr);
}
