// Programs of memory operations by several processes, with allocations that fail: the real vm/
// behind the software MMU against the model of tests/host/mmu. Each 13 bytes are one step.
#include "fuzz/input.h"
#include "tests/host/mmu/model_test_driver.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace holstein;
  constexpr std::size_t kMostSteps = 200;
  fuzz::Input input(data, bytes);
  std::vector<testing::Step> program;
  while (!input.empty() && program.size() < kMostSteps) {
    testing::Step step{};
    step.kind = static_cast<testing::StepKind>(input.byte() % testing::kStepKinds);
    // Small numbers come first, so that short inputs say something.
    step.process = input.take<std::uint16_t>();
    step.place = input.take<std::uint32_t>();
    step.length = input.take<std::uint16_t>();
    step.extra = input.take<std::uint32_t>();
    program.push_back(step);
  }
  if (const std::optional<std::string> difference = testing::run_program(program, 25)) {
    std::fprintf(stderr, "%s\nin:\n%s", difference->c_str(), testing::to_text(program).c_str());
    std::abort();
  }
  return 0;
}
