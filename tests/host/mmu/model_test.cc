// Does the virtual memory behave like a map from (process, address) to byte, whatever is done to
// it? Every third program runs with page-table isolation. The walker goes through the space that a
// step changed after each step, and through all of them, counting references, after each 50th.
// MODEL_STEPS, MODEL_SEED and MODEL_WALK in the environment change how much is run, where it
// starts, and the 50.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/host/mmu/model_test_driver.h"

namespace holstein::testing {
namespace {

constexpr std::size_t kStepsInProgram = 2500;

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

TEST(ModelTest, RandomProgramsOfSeveralProcessesAgreeWithTheModel) {
  const std::uint64_t steps = number_from_environment("MODEL_STEPS", 1'000'000);
  const std::uint64_t first_seed = number_from_environment("MODEL_SEED", 1);
  const std::uint64_t walk_every = number_from_environment("MODEL_WALK", 50);
  for (std::uint64_t done = 0, seed = first_seed; done < steps; done += kStepsInProgram, ++seed) {
    std::fprintf(stderr, "\rmodel: seed %llu", static_cast<unsigned long long>(seed));
    const std::vector<Step> program = random_program(seed, kStepsInProgram);
    const Roots roots = seed % 3 == 0 ? Roots::kPair : Roots::kOne;
    if (const std::optional<std::string> difference = run_program(program, walk_every, roots)) {
      FAIL() << "seed " << seed << ": " << *difference << "\nshrunk to:\n"
             << to_text(shrink_program(program, roots));
    }
  }
}

}  // namespace
}  // namespace holstein::testing
