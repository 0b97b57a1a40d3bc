#include "tests/guest/executed.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <string_view>

namespace holstein::guest {
namespace {

// What a program finds when it starts, as lines of "name=value".
int report(int argc, char** argv, char** envp) {
  printf("argc=%d\n", argc);
  for (int i = 0; i < argc; ++i) {
    printf("argv%d=%s\n", i, argv[i]);
  }
  printf("argv_ends=%d\n", argv[argc] == nullptr);
  int variables = 0;
  for (; envp[variables] != nullptr; ++variables) {
    printf("env%d=%s\n", variables, envp[variables]);
  }
  printf("envc=%d\n", variables);
  const auto* entry = reinterpret_cast<const Elf64_auxv_t*>(envp + variables + 1);
  for (; entry->a_type != AT_NULL; ++entry) {
    const auto value = static_cast<unsigned long>(entry->a_un.a_val);
    if (entry->a_type == AT_EXECFN) {
      printf("execfn=%s\n", reinterpret_cast<const char*>(value));
    } else if (entry->a_type == AT_PLATFORM) {
      printf("platform=%s\n", reinterpret_cast<const char*>(value));
    } else if (entry->a_type == AT_RANDOM) {
      printf("random=");
      for (int i = 0; i < 16; ++i) {
        printf("%02x", reinterpret_cast<const unsigned char*>(value)[i]);
      }
      printf("\n");
    } else {
      printf("aux%lu=%lu\n", static_cast<unsigned long>(entry->a_type), value);
    }
  }
  for (int number = 1; number < 65; ++number) {
    struct sigaction action;
    if (sigaction(number, nullptr, &action) == 0 && action.sa_handler != SIG_DFL) {
      printf("signal%d=%s\n", number, action.sa_handler == SIG_IGN ? "ignored" : "handled");
    }
  }
  sigset_t set;
  sigprocmask(SIG_SETMASK, nullptr, &set);
  sigset_t pending;
  sigpending(&pending);
  for (int number = 1; number < 32; ++number) {
    if (sigismember(&set, number) == 1) {
      printf("blocked%d=1\n", number);
    }
    if (sigismember(&pending, number) == 1) {
      printf("pending%d=1\n", number);
    }
  }
  stack_t stack;
  sigaltstack(nullptr, &stack);
  printf("altstack=%s\n", (stack.ss_flags & SS_DISABLE) != 0 ? "none" : "set");
  for (int number = 3; number < 32; ++number) {
    if (fcntl(number, F_GETFD) >= 0) {
      printf("descriptor%d=1\n", number);
    }
  }
  char name[17] = {};
  prctl(PR_GET_NAME, name);
  printf("name=%s\npid=%d\n", name, static_cast<int>(getpid()));
  printf("stack_is_aligned=%d\n", reinterpret_cast<uintptr_t>(argv - 1) % 16 == 0);
  return 0;
}

}  // namespace

bool is_executed_part(int argc, char** argv) {
  return argc == 0 || argv[0][0] == '\0' || argv[0][0] == '@' || (argc > 1 && argv[1][0] == '@');
}

int run_executed_part(int argc, char** argv, char** envp) {
  const std::string_view part = argc == 0           ? ""
                                : argv[0][0] == '@' ? argv[0]
                                : argc > 1          ? argv[1]
                                                    : "";
  if (part == "@exit") {
    return argc > 1 ? atoi(argv[argc - 1]) : 0;
  }
  if (part == "@pause") {
    for (;;) {
      pause();
    }
  }
  return report(argc, argv, envp);
}

}  // namespace holstein::guest
