#include "fuzz/syscalls/grammar.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "tests/guest/matrix/memory_case.h"

namespace holstein::guest {
namespace {

constexpr std::size_t kPage = 4096;

constexpr std::uint64_t kNumbers[] = {0,
                                      1,
                                      2,
                                      3,
                                      4,
                                      5,
                                      6,
                                      7,
                                      8,
                                      9,
                                      12,
                                      15,
                                      16,
                                      23,
                                      24,
                                      31,
                                      32,
                                      48,
                                      63,
                                      64,
                                      88,
                                      100,
                                      128,
                                      255,
                                      256,
                                      511,
                                      512,
                                      1000,
                                      1024,
                                      4095,
                                      kPage,
                                      4097,
                                      8192,
                                      65536,
                                      0x100000,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x7fffffffffffffff,
                                      0x8000000000000000,
                                      ~std::uint64_t{0},
                                      ~std::uint64_t{1}};
// Commands of ioctl, fcntl, prctl, arch_prctl, futex: numbers that would not be met by chance.
constexpr std::uint64_t kCommands[] = {0x5401, 0x5402, 0x5404, 0x540f, 0x5410,    0x5413, 0x541b,
                                       0x5421, 0x5450, 0x5451, 1024,   1025,      1030,   1031,
                                       1032,   1033,   1034,   0x1001, 0x1002,    0x1003, 0x1004,
                                       0x80,   0x81,   0x85,   0x180,  0xfee1dead};
constexpr const char* kPaths[] = {"a",
                                  "b",
                                  "c",
                                  "link",
                                  "new",
                                  "b/a",
                                  "b/new",
                                  ".",
                                  "..",
                                  "",
                                  "a/",
                                  "x/y",
                                  "b/../a",
                                  "/proc/self/exe",
                                  "/proc/self/fd/3",
                                  "/proc/self/maps"};

// Buffers of the program's own, for pointers that are good.
constexpr std::size_t kBuffers = 8;
constexpr std::size_t kBufferBytes = 2 * kPage;
alignas(kPage) char buffers[kBuffers][kBufferBytes];

std::uint64_t number(Random& random) {
  switch (random.below(8)) {
    case 0:
      return random.next();
    case 1:
      return random.pick(kCommands);
    case 2:
      return random.below(48);
    default:
      return random.pick(kNumbers);
  }
}

std::uint64_t flags(Random& random) {
  switch (random.below(4)) {
    case 0:
      return 0;
    case 1:
      return std::uint64_t{1} << random.below(32);
    case 2:
      return std::uint64_t{1} << random.below(24) | std::uint64_t{1} << random.below(24);
    default:
      return number(random);
  }
}

std::uint64_t descriptor(Random& random) {
  if (!random.one_in(4)) {
    return kFirstFd + random.below(kLastFd - kFirstFd + 1);
  }
  constexpr std::int64_t kOdd[] = {-1, AT_FDCWD, 0x7fffffff, 1 << 20, -4096};
  return random.one_in(2) ? random.below(40) : static_cast<std::uint64_t>(random.pick(kOdd));
}

std::uint64_t process(const Caller& caller, Random& random) {
  const std::int64_t of_both[] = {0,          caller.self, caller.last_child, -caller.self,
                                  0x7fffffff, 400000};
  const std::int64_t of_user[] = {-1, 1, getppid(), -2147483648};
  return static_cast<std::uint64_t>(caller.is_root || !random.one_in(3) ? random.pick(of_both)
                                                                        : random.pick(of_user));
}

std::uint64_t signal_number(Random& random) {
  if (random.one_in(8)) {
    return number(random);
  }
  // Mostly those that end nobody and stop nobody.
  constexpr std::uint64_t kMild[] = {SIGUSR1, SIGUSR2, SIGCHLD, SIGWINCH, SIGURG, SIGCONT,
                                     SIGPIPE, 34,      40,      64,       0};
  return random.one_in(4) ? random.below(65) : random.pick(kMild);
}

std::uint64_t address(Random& random) {
  if (random.one_in(4)) {
    return number(random);
  }
  const std::uint64_t base = random.one_in(3) ? kArena : kPlayground;
  return base + random.below(6) * kPage + (random.one_in(6) ? random.below(kPage) : 0);
}

// Bytes for an object that the kernel reads: words that are likely to mean something.
void draw(char* to, std::size_t bytes, Random& random) {
  for (std::size_t at = 0; at + 8 <= bytes; at += 8) {
    std::uint64_t word = 0;
    switch (random.below(6)) {
      case 0:
        word = number(random);
        break;
      case 1:
        word = address(random);
        break;
      case 2:
        word = reinterpret_cast<std::uint64_t>(buffers[random.below(kBuffers)]);
        break;
      case 3:  // two halves: a descriptor and events, a flag and a number
        word = descriptor(random) | random.below(64) << 32;
        break;
      default:
        break;  // zero is what most members are
    }
    std::memcpy(to + at, &word, sizeof(word));
  }
}

std::string object_for(Kind kind, std::size_t bytes, Random& random) {
  if (kind == Kind::kPath || (kind == Kind::kString && random.one_in(2))) {
    std::string text = random.pick(kPaths);
    if (random.one_in(40)) {
      text = std::string(random.below(6000), 'n');
    }
    return text + '\0';
  }
  if (kind == Kind::kString) {
    return std::string(random.below(40), 's') + '\0';
  }
  std::string object(std::clamp<std::size_t>(bytes, 1, kBufferBytes), '\0');
  draw(object.data(), object.size(), random);
  return object;
}

// Mostly good memory of the program's own; else one of the matrix's kinds, in one of its states.
std::uint64_t pointer(Kind kind, std::size_t bytes, std::size_t index, const Caller& caller,
                      Random& random) {
  const std::string object = object_for(kind, bytes, random);
  if (!random.one_in(3)) {
    // Each argument has a buffer of its own: two readings of the same bytes are worth a look.
    char* const buffer = buffers[index];
    const std::size_t offset = random.one_in(8) ? kBufferBytes - object.size() : 0;
    const std::size_t count = std::min(object.size(), kBufferBytes - offset);
    std::memcpy(buffer + offset, object.data(), count);
    return reinterpret_cast<std::uint64_t>(buffer + offset);
  }
  if (random.one_in(8)) {
    return 0;
  }
  const PointerKind& chosen = pointer_kinds()[random.below(pointer_kinds().size())];
  const State state = random.one_in(2) ? State::kPresent : State::kAbsent;
  if (!applies(chosen, state, kind, object.size(), true) || object.size() > kPage) {
    return address(random);
  }
  return place(chosen, state, object, 1, caller.arena_file).address;
}

std::uint64_t argument(const Parameter& parameter, std::size_t index, const Caller& caller,
                       Random& random) {
  constexpr std::size_t kRawBytes = 64;
  switch (parameter.kind) {
    case Kind::kNumber:
    case Kind::kLength:
      return number(random);
    case Kind::kFlags:
      return flags(random);
    case Kind::kDescriptor:
      return descriptor(random);
    case Kind::kDirectory:
      return random.one_in(2) ? static_cast<std::uint64_t>(AT_FDCWD) : descriptor(random);
    case Kind::kProcess:
      return process(caller, random);
    case Kind::kSignal:
      return signal_number(random);
    case Kind::kMode:
      return random.one_in(4) ? random.next() & 0177777 : 0755;
    case Kind::kAddress:
      return address(random);
    case Kind::kPath:
    case Kind::kString:
    case Kind::kIn:
    case Kind::kOut:
    case Kind::kInOut:
      return pointer(parameter.kind, parameter.object_bytes, index, caller, random);
    case Kind::kBufferIn:
    case Kind::kBufferOut:
    case Kind::kBufferInOut:
      return pointer(parameter.kind, parameter.object_bytes * random.below(40), index, caller,
                     random);
    case Kind::kRaw:
      return random.one_in(2) ? number(random)
                              : pointer(Kind::kInOut, kRawBytes, index, caller, random);
  }
  std::abort();
}

bool is_one_of(const TableRow& row, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, std::string_view(row.name)) != names.end();
}

}  // namespace

bool is_allowed(const TableRow& row, bool is_root) {
  if (is_one_of(row, {"reboot"})) {
    return false;  // would end the machine
  }
  // What would take the ground from under the processes outside.
  return !is_root || !is_one_of(row, {"kill", "tkill", "tgkill", "mount", "umount2", "settimeofday",
                                      "clock_settime", "rt_sigqueueinfo", "rt_tgsigqueueinfo"});
}

void make_registers(const TableRow& row, const Caller& caller, Random& random,
                    std::uint64_t (&registers)[6]) {
  for (std::size_t i = 0; i < 6; ++i) {
    registers[i] =
        i < row.parameters.size() ? argument(row.parameters[i], i, caller, random) : random.next();
  }
  if (row.name == "clone" && (registers[0] & CLONE_VM) != 0) {
    // Two processes on one stack would only kill each other.
    registers[0] &= ~static_cast<std::uint64_t>(CLONE_VM | CLONE_THREAD | CLONE_SIGHAND);
  }
  if (row.name == "mmap" && random.one_in(2)) {
    registers[0] = address(random) / kPage * kPage;
    registers[1] = (1 + random.below(8)) * kPage;
    registers[2] = random.below(8);
    registers[3] = (random.one_in(3) ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED |
                   (random.one_in(3) ? 0u : MAP_ANONYMOUS);
    registers[5] = random.below(4) * kPage;
  }
}

void make_files() {
  mkdir("b", 0777);
  mkfifo("c", 0666);
  static const char contents[2 * kPage] = {};
  const int file = open("a", O_RDWR | O_CREAT, 0777);
  if (file < 0 || write(file, contents, sizeof(contents)) != sizeof(contents)) {
    std::perror("a");
    std::_Exit(2);
  }
  if (symlink("a", "link") != 0) {
    std::perror("link");
    std::_Exit(2);
  }
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_NONBLOCK) != 0) {
    std::perror("pipe");
    std::_Exit(2);
  }
  const int sources[] = {file,
                         open(".", O_RDONLY | O_DIRECTORY),
                         ends[0],
                         ends[1],
                         open("/dev/zero", O_RDWR),
                         memfd_create("fuzz", 0),
                         open("/proc/self/maps", O_RDONLY),
                         open("/dev/null", O_RDWR)};
  // First out of the way, then to their places.
  constexpr int kAside = 60;
  for (int i = 0; i < static_cast<int>(std::size(sources)); ++i) {
    dup2(sources[i], kAside + i);
    close(sources[i]);
  }
  static_assert(std::size(sources) == kLastFd - kFirstFd + 1);
  for (int i = 0; i < static_cast<int>(std::size(sources)); ++i) {
    dup2(kAside + i, kFirstFd + i);
    close(kAside + i);
  }
}

}  // namespace holstein::guest
