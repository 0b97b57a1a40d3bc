#include "tests/guest/stress/trace_operations.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

int files[kFiles];

sigjmp_buf fault_return;
volatile sig_atomic_t fault_signal = 0;
volatile sig_atomic_t fault_code = 0;
const void* volatile fault_address = nullptr;

void on_fault(int signal, siginfo_t* info, void*) {
  fault_signal = signal;
  fault_code = info->si_code;
  fault_address = info->si_addr;
  siglongjmp(fault_return, 1);
}

[[gnu::format(printf, 2, 3)]] void say(TraceResult& result, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(result.text, sizeof(result.text), format, arguments);
  va_end(arguments);
}

void say_outcome(TraceResult& result, const char* how, bool worked) {
  if (worked) {
    say(result, "%s = ok", how);
  } else {
    say(result, "%s = %s", how, strerrorname_np(errno));
  }
}

volatile std::uint64_t* word_at(std::uint64_t address) {
  return reinterpret_cast<volatile std::uint64_t*>(address);
}

struct Access {
  int signal = 0;  // 0: it worked
  int code = 0;
  bool names_address = true;
  std::uint64_t value = 0;
};

Access access(std::uint64_t address, bool writes, std::uint64_t value) {
  Access done;
  if (sigsetjmp(fault_return, 1) == 0) {
    if (writes) {
      *word_at(address) = value;
    }
    done.value = *word_at(address);
    return done;
  }
  done.signal = fault_signal;
  done.code = fault_code;
  done.names_address = fault_address == reinterpret_cast<const void*>(address);
  return done;
}

void say_access(TraceResult& result, const Access& done) {
  if (done.signal == 0) {
    say(result, "= %llx", static_cast<unsigned long long>(done.value));
  } else {
    say(result, "= %s, code %d%s", done.signal == SIGBUS ? "SIGBUS" : "SIGSEGV", done.code,
        done.names_address ? "" : ", another address");
  }
}

// The word at a page's start or the one at its end.
std::uint64_t word_of(const Operation& operation) {
  const std::uint64_t start = kWindows[operation.window].at(operation.unit);
  return (operation.variant & 1) != 0 ? start + kPage - sizeof(std::uint64_t) : start;
}

char* address_of(const Operation& operation) {
  return reinterpret_cast<char*>(kWindows[operation.window].at(operation.unit));
}
std::size_t size_of(const Operation& operation) {
  std::size_t size = operation.units * kWindows[operation.window].unit_bytes;
  // In the window of whole tables some ranges end a page short of a table.
  if (kWindows[operation.window].unit_bytes > kPage && (operation.choice & 0x30000) == 0) {
    size -= kPage;
  }
  return size;
}

struct Named {
  const char* name;
  int value;
};

constexpr Named kProtections[] = {{"rw", PROT_READ | PROT_WRITE},
                                  {"rw", PROT_READ | PROT_WRITE},
                                  {"rw", PROT_READ | PROT_WRITE},
                                  {"r", PROT_READ},
                                  {"none", PROT_NONE},
                                  {"rx", PROT_READ | PROT_EXEC},
                                  {"w", PROT_WRITE}};

template <std::size_t kCount>
const Named& choose(const Named (&from)[kCount], unsigned choice) {
  return from[choice % kCount];
}

void map(const Operation& operation, TraceResult& result) {
  const Named& protection = choose(kProtections, operation.variant);
  int flags = (operation.choice & 1) != 0 ? MAP_SHARED : MAP_PRIVATE;
  const bool is_anonymous = (operation.choice & 6) != 0;
  flags |= is_anonymous ? MAP_ANONYMOUS : 0;
  flags |= is_anonymous && (operation.choice & 0x18) == 0 ? MAP_FIXED_NOREPLACE : MAP_FIXED;
  flags |= (operation.choice & 0x60) == 0 ? MAP_POPULATE : 0;
  flags |= (operation.choice & 0x180) == 0 ? MAP_NORESERVE : 0;
  char how[64];
  std::snprintf(how, sizeof(how), "%s %s%s%s%s", protection.name,
                (flags & MAP_SHARED) != 0 ? "shared" : "private", is_anonymous ? "" : " file",
                (flags & MAP_FIXED_NOREPLACE) == MAP_FIXED_NOREPLACE ? " noreplace" : "",
                (flags & MAP_POPULATE) != 0 ? " populate" : "");
  const void* got = mmap(address_of(operation), size_of(operation), protection.value, flags,
                         is_anonymous ? -1 : files[operation.file],
                         is_anonymous ? 0 : static_cast<off_t>(operation.offset * kPage));
  say_outcome(result, how, got == address_of(operation));
}

void advise(const Operation& operation, TraceResult& result) {
  constexpr Named kAdvice[] = {
      {"dontneed", MADV_DONTNEED},     {"dontneed", MADV_DONTNEED}, {"dontfork", MADV_DONTFORK},
      {"dofork", MADV_DOFORK},         {"dofork", MADV_DOFORK},     {"wipeonfork", MADV_WIPEONFORK},
      {"keeponfork", MADV_KEEPONFORK}, {"willneed", MADV_WILLNEED}, {"normal", MADV_NORMAL}};
  const Named& advice = choose(kAdvice, operation.variant);
  say_outcome(result, advice.name,
              madvise(address_of(operation), size_of(operation), advice.value) == 0);
}

void remap(const Operation& operation, TraceResult& result) {
  char* from = address_of(operation);
  const std::size_t size = size_of(operation);
  // Linux moves ranges with holes since 6.17 and refuses them before.
  unsigned char residency[kGroupUnits];
  if (mincore(from, size, residency) != 0) {
    say(result, "= not all mapped");
    return;
  }
  const int offset = operation.unit % kGroupUnits;
  const int group = static_cast<int>(operation.choice % (kUnits / kGroupUnits));
  switch (operation.variant % 4) {
    case 0:  // shrink, or nothing
      say_outcome(result, "shrink", mremap(from, size, (size / kPage + 1) / 2 * kPage, 0) == from);
      return;
    case 1:  // into the free unit behind the group
      say_outcome(result, "grow", mremap(from, size, size + kPage, 0) == from);
      return;
    default: {
      char* to = reinterpret_cast<char*>(kWindows[kRemapWindow].at(group * kGroupUnits));
      if (group == operation.unit / kGroupUnits) {
        say(result, "onto itself");
        return;
      }
      munmap(to, kGroupUnits * kPage);
      const bool keeps = operation.variant % 8 == 7;
      to += static_cast<std::size_t>(offset) * kPage;
      char how[32];
      std::snprintf(how, sizeof(how), "to group %d%s", group, keeps ? ", keep" : "");
      say_outcome(result, how,
                  mremap(from, size, size,
                         MREMAP_MAYMOVE | MREMAP_FIXED | (keeps ? MREMAP_DONTUNMAP : 0), to) == to);
    }
  }
}

// Files grow by kTruncate only: what a write behind the end leaves differs between versions of
// Linux where its bytes cannot be read.
void transfer(const Operation& operation, TraceResult& result) {
  const bool reads = operation.kind == Kind::kReadFile;
  const int file = files[operation.file];
  const auto pages = static_cast<int>(lseek(file, 0, SEEK_END) / static_cast<off_t>(kPage));
  const int first = reads || pages == 0 ? operation.offset : operation.offset % pages;
  int count = operation.units < 4 ? operation.units : 4;
  if (!reads) {
    count = count < pages - first ? count : pages - first;
  }
  if (count <= 0) {
    say(result, "of nothing");
    return;
  }
  // Whole pages of the file, at any place in memory.
  char* memory = address_of(operation) + (operation.choice & 0xff0);
  const std::size_t size = static_cast<std::size_t>(count) * kPage;
  const off_t offset = static_cast<off_t>(first) * static_cast<off_t>(kPage);
  const ssize_t moved =
      reads ? pread(file, memory, size, offset) : pwrite(file, memory, size, offset);
  if (moved < 0) {
    say(result, "= %s", strerrorname_np(errno));
  } else {
    say(result, "%d of %d pages, page %d = %zd", operation.file, pages, first, moved);
  }
}

void dump(const Operation& operation, TraceResult& result) {
  constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnoqrstuvwxyz123456789";
  for (int unit = 0; unit < kUnits; ++unit) {
    const std::uint64_t start = kWindows[operation.window].at(unit);
    const Access first = access(start, false, 0);
    const Access last = access(start + kPage - sizeof(std::uint64_t), false, 0);
    char letter = '?';
    if (first.signal != last.signal || first.code != last.code) {
      letter = '!';
    } else if (first.signal == SIGBUS) {
      letter = '#';
    } else if (first.signal == SIGSEGV) {
      letter = first.code == SEGV_MAPERR ? '.' : '-';
    } else if (first.value == 0 && last.value == 0) {
      letter = '0';
    } else {
      const std::uint64_t both = first.value * 0x9e3779b97f4a7c15 + last.value;
      letter = kLetters[(both ^ both >> 29) % (sizeof(kLetters) - 1)];
    }
    result.text[unit] = letter;
  }
  result.text[kUnits] = '\0';
}

}  // namespace

bool open_files(const char* folder) {
  for (int i = 0; i < kFiles; ++i) {
    char path[256];
    std::snprintf(path, sizeof(path), "%s/vm-trace-%d-%d", folder, getpid(), i % 2);
    files[i] = open(path, i < 2 ? O_RDWR | O_CREAT | O_TRUNC : O_RDONLY, 0600);
    if (files[i] < 0) {
      return false;
    }
    for (std::uint64_t page = 0; i < 2 && page < kFilePages; ++page) {
      std::uint64_t words[kPage / sizeof(std::uint64_t)];
      for (std::uint64_t& word : words) {
        word = 0xf11e'0000 + static_cast<std::uint64_t>(i) * 0x1000 + page;
      }
      if (write(files[i], words, sizeof(words)) != static_cast<ssize_t>(sizeof(words))) {
        return false;
      }
    }
  }
  for (int i = 0; i < 2; ++i) {
    char path[256];
    std::snprintf(path, sizeof(path), "%s/vm-trace-%d-%d", folder, getpid(), i);
    unlink(path);
  }
  return true;
}

void catch_faults() {
  struct sigaction action{};
  action.sa_sigaction = &on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
}

void perform(const Operation& operation, TraceResult& result) {
  switch (operation.kind) {
    case Kind::kMap:
      map(operation, result);
      break;
    case Kind::kUnmap:
      say_outcome(result, "", munmap(address_of(operation), size_of(operation)) == 0);
      break;
    case Kind::kProtect: {
      const Named& protection = choose(kProtections, operation.variant);
      say_outcome(result, protection.name,
                  mprotect(address_of(operation), size_of(operation), protection.value) == 0);
      break;
    }
    case Kind::kAdvise:
      advise(operation, result);
      break;
    case Kind::kRemap:
      remap(operation, result);
      break;
    case Kind::kSync:
      say_outcome(result, "", msync(address_of(operation), size_of(operation), MS_SYNC) == 0);
      break;
    case Kind::kWrite:
      say_access(result, access(word_of(operation), true,
                                operation.number * 0x100ULL + operation.process + 1));
      break;
    case Kind::kRead:
      say_access(result, access(word_of(operation), false, 0));
      break;
    case Kind::kReadFile:
    case Kind::kWriteFile:
      transfer(operation, result);
      break;
    case Kind::kGetCwd: {
      // Two bytes: both in this page, or one in it and one in the next.
      char* place = address_of(operation) + kPage - 1 - (operation.variant & 1);
      say_outcome(result, "", getcwd(place, 2) == place);
      break;
    }
    case Kind::kTruncate: {
      const off_t size = static_cast<off_t>(operation.offset * kPage);
      char how[32];
      std::snprintf(how, sizeof(how), "file %d to %d pages", operation.file, operation.offset);
      say_outcome(result, how, ftruncate(files[operation.file], size) == 0);
      break;
    }
    case Kind::kDump:
      dump(operation, result);
      break;
    case Kind::kFork:
    case Kind::kExit:
      std::abort();
  }
}
