// A C program: standard input and output, memory, files, time, a child. Prints the same on every
// system; built with glibc and, from the same source, with musl.
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t handled;

static void on_signal(int number) { handled = number; }

static int compare(const void* left, const void* right) {
  const int a = *(const int*)left;
  const int b = *(const int*)right;
  return (a > b) - (a < b);
}

static void sorting(void) {
  enum { kCount = 20000 };
  int* numbers = malloc(kCount * sizeof(int));
  unsigned state = 12345;
  for (int i = 0; i < kCount; ++i) {
    state = state * 1103515245u + 12345u;
    numbers[i] = (int)(state >> 8);
  }
  qsort(numbers, kCount, sizeof(int), compare);
  int in_order = 1;
  for (int i = 1; i < kCount; ++i) {
    in_order = in_order && numbers[i - 1] <= numbers[i];
  }
  printf("sorted %d: %d %d\n", in_order, numbers[0], numbers[kCount - 1]);
  free(numbers);
}

static void files(void) {
  FILE* file = tmpfile();
  if (file == NULL) {
    printf("no temporary file: %s\n", strerror(errno));
    return;
  }
  for (int i = 0; i < 1000; ++i) {
    fprintf(file, "line %d\n", i);
  }
  printf("length %ld\n", ftell(file));
  fseek(file, -9, SEEK_END);
  char line[32] = "";
  if (fgets(line, sizeof(line), file) != NULL) {
    printf("last: %s", line);
  }
  fclose(file);
  if (fopen("/no/such/file", "r") == NULL) {
    printf("errno %d\n", errno);
  }
}

static void memory(void) {
  char* grown = NULL;
  size_t size = 1;
  for (int i = 0; i < 22; ++i, size *= 2) {
    grown = realloc(grown, size);
    memset(grown + size / 2, 'a' + i, size - size / 2);
  }
  printf("grown: %c %c %c\n", grown[1], grown[1000], grown[size / 2 - 1]);
  free(grown);
  printf("zeroed: %d\n", ((char*)calloc(1, 1 << 20))[(1 << 20) - 1]);
}

static void children(void) {
  int pipes[2];
  if (pipe(pipes) != 0) {
    return;
  }
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    dprintf(pipes[1], "from the child");
    _exit(23);
  }
  close(pipes[1]);
  char text[32] = "";
  const ssize_t got = read(pipes[0], text, sizeof(text) - 1);
  int status = 0;
  waitpid(child, &status, 0);
  printf("%zd bytes %s, status %d\n", got, text, WEXITSTATUS(status));
}

int main(int argc, char** argv) {
  signal(SIGUSR1, on_signal);
  raise(SIGUSR1);
  printf("%d arguments, last %s, handled %d\n", argc - 1, argc > 1 ? argv[argc - 1] : "none",
         handled == SIGUSR1);
  sorting();
  files();
  memory();
  children();
  struct tm date = {.tm_year = 99, .tm_mon = 11, .tm_mday = 31, .tm_hour = 23};
  char text[64];
  setenv("TZ", "UTC", 1);
  const time_t seconds = mktime(&date);
  strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", gmtime(&seconds));
  printf("%s is %lld\n", text, (long long)seconds);
  printf("%.6f %.6f %a\n", sqrt(2.0), exp(1.0), 0.1);
  return argc > 1 ? 3 : 4;
}
