#include "tests/host/mmu/model_test_driver.h"

#include <cstdio>
#include <random>

#include "tests/host/mmu/model_world.h"

namespace holstein::testing {

std::vector<Step> random_program(std::uint64_t seed, std::size_t steps) {
  std::mt19937_64 random(seed);
  // How often each kind comes; touching memory is what programs mostly do.
  constexpr unsigned kWeights[kStepKinds] = {8, 2, 3, 3, 4, 5, 40, 30, 2, 4,
                                             3, 3, 4, 1, 1, 3, 2,  4,  6, 6};
  std::discrete_distribution<unsigned> kinds(std::begin(kWeights), std::end(kWeights));
  std::vector<Step> program(steps);
  for (Step& step : program) {
    step = {.kind = static_cast<StepKind>(kinds(random)),
            .process = static_cast<std::uint32_t>(random()),
            .place = static_cast<std::uint32_t>(random()),
            .length = static_cast<std::uint32_t>(random()),
            .extra = static_cast<std::uint32_t>(random())};
  }
  return program;
}

std::optional<std::string> run_program(const std::vector<Step>& program, std::size_t validate_every,
                                       Roots roots) {
  World world(roots);
  for (std::size_t i = 0; i < program.size(); ++i) {
    world.run(program[i]);
    world.validate_current();
    if ((i + 1) % validate_every == 0) {
      world.validate();
    }
    if (world.difference()) {
      return "step " + std::to_string(i) + ": " + *world.difference();
    }
  }
  world.validate();
  world.compare_everything();
  return world.difference();
}

std::vector<Step> shrink_program(std::vector<Step> program, Roots roots) {
  for (std::size_t chunk = program.size() / 2; chunk > 0; chunk /= 2) {
    for (std::size_t start = 0; start + chunk <= program.size();) {
      std::vector<Step> shorter = program;
      shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(start),
                    shorter.begin() + static_cast<std::ptrdiff_t>(start + chunk));
      if (run_program(shorter, 1, roots)) {
        program = std::move(shorter);
      } else {
        start += chunk;
      }
    }
  }
  return program;
}

std::string to_text(const std::vector<Step>& program) {
  constexpr const char* kNames[kStepKinds] = {"map anonymous",
                                              "map shared anonymous",
                                              "map file private",
                                              "map file shared",
                                              "unmap",
                                              "protect",
                                              "write",
                                              "read",
                                              "execute",
                                              "fork",
                                              "exit",
                                              "move",
                                              "discard",
                                              "dontfork",
                                              "wipeonfork",
                                              "write file",
                                              "truncate",
                                              "kernel write",
                                              "switch",
                                              "fail next allocation"};
  std::string text;
  for (const Step& step : program) {
    const Range range = range_of(step);
    char line[160];
    std::snprintf(line, sizeof line, "%-22s process %u, %#llx + %llu pages, extra %u\n",
                  kNames[static_cast<unsigned>(step.kind)], step.process % 8,
                  static_cast<unsigned long long>(range.start),
                  static_cast<unsigned long long>(range.pages), step.extra);
    text += line;
  }
  return text;
}

}  // namespace holstein::testing
