// Random programs of address-space operations over several processes, run on the real vm/ code
// (with the software MMU in the place of the processor) and on the model, and compared byte by
// byte.
//
// A program is a list of steps, each of which is valid in every state (what it names is taken
// modulo what exists), so that any subset of a failing program is a program too: that is how
// failures are shrunk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace holstein::testing {

enum class StepKind : std::uint8_t {
  kMapAnonymous,
  kMapSharedAnonymous,
  kMapFilePrivate,
  kMapFileShared,
  kUnmap,
  kProtect,
  kWrite,
  kRead,
  kExecute,
  kFork,
  kExit,
  kMove,
  kDiscard,      // MADV_DONTNEED
  kDontFork,     // and MADV_DOFORK
  kWipeOnFork,   // and MADV_KEEPONFORK
  kWriteFile,    // write(2) to the file
  kTruncate,     // shrink and grow the file
  kKernelWrite,  // through pin_page, as process_vm_writev does it
  kSwitch,       // load another process's root
  kFailNext,     // the Nth allocation from now fails
};
inline constexpr unsigned kStepKinds = 20;

// One step; each field is reduced modulo what there is.
struct Step {
  StepKind kind;
  std::uint32_t process;
  std::uint32_t place;
  std::uint32_t length;
  std::uint32_t extra;
};

std::vector<Step> random_program(std::uint64_t seed, std::size_t steps);

// Page tables with isolation of the kernel's or without.
enum class Roots : std::uint8_t { kOne, kPair };

// Runs `program` in an arena of its own; walks the invariants after every `validate_every` steps,
// and checks at the end that every frame is back. Returns what went wrong, or nothing. Broken
// invariants panic (which ends the test program); differences come back.
std::optional<std::string> run_program(const std::vector<Step>& program, std::size_t validate_every,
                                       Roots roots);

// The shortest program found that still fails, and how it fails.
std::vector<Step> shrink_program(std::vector<Step> program, Roots roots);
std::string to_text(const std::vector<Step>& program);

}  // namespace holstein::testing
