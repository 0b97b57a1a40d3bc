// Programs of memory operations by several processes, with allocations that fail: the real vm/
// behind the software MMU against the model of tests/host/mmu, with page-table isolation where the
// input has an even number of bytes. Each 13 bytes are one step.
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
  // The last step may lack bytes, so that their number is free to say something else.
  const testing::Roots roots = bytes % 2 == 0 ? testing::Roots::kPair : testing::Roots::kOne;
  if (const std::optional<std::string> difference = testing::run_program(program, 25, roots)) {
    std::fprintf(stderr, "%s\nin:\n%s", difference->c_str(), testing::to_text(program).c_str());
    std::abort();
  }
  return 0;
}
