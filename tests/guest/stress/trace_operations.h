// Carries out one operation of a trace in the calling process.
#pragma once

#include "tests/guest/stress/trace_program.h"

constexpr int kResultBytes = 160;

struct TraceResult {
  char text[kResultBytes];
};

// Opens the files of a trace in `folder`, empties and fills them. False (with errno): it cannot.
bool open_files(const char* folder);

// Makes SIGSEGV and SIGBUS come back to the operation that caused them.
void catch_faults();

// All kinds but kFork and kExit.
void perform(const Operation& operation, TraceResult& result);
