// Small programs of system calls in which every allocation of the kernel may fail.
#pragma once

#include <span>

// How a scenario ended; it is the exit status of the process that ran it.
enum ScenarioEnd {
  kEverythingWorked = 0,
  kNoMemory = 1,     // some call failed, with an errno that says so
  kWrongError = 3,   // some call failed with another one
  kWrongResult = 4,  // a call that succeeded did something else than it should
};

struct FailureScenario {
  const char* name;
  ScenarioEnd (*run)();
};

std::span<const FailureScenario> failure_scenarios();

// What a scenario that execs this program again makes it do.
inline constexpr char kExecutedWord[] = "executed-by-scenario";
int run_executed();
