// Dies in the way that its argument names.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void jump_to(volatile unsigned long address) { ((void (*)(void))address)(); }

static int overflow(volatile int depth) {
  volatile char frame[4096];
  frame[depth % 4096] = (char)depth;
  return depth < 0 ? frame[0] : overflow(depth + 1) + frame[1];
}

int main(int argc, char** argv) {
  const char* way = argc > 1 ? argv[1] : "";
  printf("about to die: %s\n", way);
  fflush(stdout);
  if (strcmp(way, "null") == 0) {
    *(volatile int*)0 = 1;
  } else if (strcmp(way, "read-null") == 0) {
    return *(volatile int*)0;
  } else if (strcmp(way, "call-null") == 0) {
    jump_to(0);
  } else if (strcmp(way, "kernel-jump") == 0) {
    jump_to(0xffffffff80000000);
  } else if (strcmp(way, "kernel-read") == 0) {
    return *(volatile int*)0xffffffff80000000;
  } else if (strcmp(way, "kernel-write") == 0) {
    *(volatile int*)0xffff800000000000 = 1;
  } else if (strcmp(way, "non-canonical") == 0) {
    jump_to(0x8000000000000000);
  } else if (strcmp(way, "hlt") == 0) {
    __asm__ volatile("hlt");
  } else if (strcmp(way, "illegal") == 0) {
    __asm__ volatile("ud2");
  } else if (strcmp(way, "breakpoint") == 0) {
    __asm__ volatile("int3");
  } else if (strcmp(way, "divide") == 0) {
    __asm__ volatile("div %0" : : "r"(0), "a"(1), "d"(0));
  } else if (strcmp(way, "stack") == 0) {
    return overflow(0);
  } else if (strcmp(way, "abort") == 0) {
    abort();
  } else if (strcmp(way, "kill") == 0) {
    raise(SIGKILL);
  } else {
    fprintf(stderr,
            "usage: crash null|read-null|call-null|kernel-jump|kernel-read|kernel-write|\n"
            "             non-canonical|hlt|illegal|breakpoint|divide|stack|abort|kill\n");
    return 2;
  }
  return 0;
}
