// Does the call tree count each instruction once and under the right callers: calls, tail calls,
// switches of stacks, faults, interrupts?
#include "tools/qemu_plugin/call_tree.h"

#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>

#include "tools/qemu_plugin/instruction.h"

namespace holstein::profiler {
namespace {

constexpr uint64_t kStubs = 0x1000, kEntry = 0x2000, kA = 0x3000, kB = 0x4000, kC = 0x5000,
                   kThread = 0x6000;
constexpr uint64_t kPageFault = kStubs + 14 * 16, kTimer = kStubs + 32 * 16;
constexpr uint64_t kStack = 0xFFFF'A000'0000'1000, kOtherStack = 0xFFFF'A000'0000'9000;

// Plays the CPU; blocks are `count` instructions of one byte.
class CallTreeTest : public testing::Test {
 protected:
  CallTreeTest()
      : tree(FunctionTable({kStubs, kEntry, kA, kB, kC, kThread}, kStubs, kStubs + 256 * 16)) {}

  // Runs `executed` instructions of the block of `count` at `address`.
  void run(uint64_t address, uint64_t count, uint64_t executed) {
    std::vector<uint64_t> addresses;
    for (uint64_t i = 0; i < count; ++i) addresses.push_back(address + i);
    tree.enter(tree.block(addresses));
    tree.kernel_instructions += executed;
  }
  void run(uint64_t address, uint64_t count) { run(address, count, count); }
  void user(uint64_t count) { tree.user_instructions += count; }

  // The output, as "entry;a;b" -> (instructions, calls), and "user".
  std::map<std::string, std::pair<uint64_t, uint64_t>> result() {
    char* text = nullptr;
    size_t size = 0;
    FILE* file = open_memstream(&text, &size);
    EXPECT_TRUE(tree.write(file));
    fclose(file);
    std::istringstream lines{std::string(text, size)};
    free(text);
    std::map<uint64_t, std::string> names{{0, ""}};
    const std::map<uint64_t, std::string> functions{
        {kStubs, "trap"}, {kEntry, "entry"}, {kA, "a"}, {kB, "b"}, {kC, "c"}, {kThread, "thread"}};
    std::map<std::string, std::pair<uint64_t, uint64_t>> found;
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string kind;
      words >> kind;
      uint64_t number = 0, parent = 0, function = 0, instructions = 0, calls = 0;
      if (kind == "user") {
        words >> instructions;
        found["user"] = {instructions, 0};
      } else if (kind == "node") {
        words >> number >> parent >> std::hex >> function >> std::dec >> instructions >> calls;
        names[number] = names.at(parent) + (parent == 0 ? "" : ";") + functions.at(function);
        if (instructions != 0 || calls != 0) found[names[number]] = {instructions, calls};
      } else if (kind == "block") {
        words >> std::hex >> function >> std::dec >> number >> calls >> instructions;
        block_instructions += instructions;
      }
    }
    return found;
  }

  using Result = std::map<std::string, std::pair<uint64_t, uint64_t>>;
  CallTree tree;
  uint64_t block_instructions = 0;
};

TEST_F(CallTreeTest, CallsAndReturns) {
  user(5);
  run(kEntry, 3);
  tree.call(kStack, kEntry + 3);
  run(kA, 2);
  tree.call(kStack - 8, kA + 2);
  run(kB, 4);
  tree.return_from(kStack - 8);
  run(kA + 2, 1);
  tree.return_from(kStack);
  run(kEntry + 3, 2);
  user(1);
  run(kEntry, 3);
  EXPECT_EQ(
      result(),
      (Result{{"user", {6, 0}}, {"entry", {8, 2}}, {"entry;a", {3, 1}}, {"entry;a;b", {4, 1}}}));
  EXPECT_EQ(block_instructions, 15U);
}

TEST_F(CallTreeTest, ATailCallReturnsToTheFirstCaller) {
  user(1);
  run(kEntry, 1);
  tree.call(kStack, kEntry + 1);
  run(kA, 2);
  run(kB, 3);      // jumped to
  run(kA + 5, 1);  // and back: no endless chain
  run(kB + 5, 1);  // not to its beginning: no call
  tree.return_from(kStack);
  run(kEntry + 1, 1);
  EXPECT_EQ(
      result(),
      (Result{{"user", {1, 0}}, {"entry", {2, 1}}, {"entry;a", {3, 1}}, {"entry;a;b", {4, 1}}}));
}

TEST_F(CallTreeTest, ASwitchOfStacks) {
  user(1);
  run(kEntry, 1);
  tree.call(kStack, kEntry + 1);
  run(kA, 1);
  tree.return_from(kOtherStack);  // nothing was called there: a new thread
  run(kThread, 1);
  tree.call(kOtherStack, kThread + 1);
  run(kB, 1);
  tree.return_from(kStack);
  run(kEntry + 1, 1);
  tree.return_from(kOtherStack);
  run(kThread + 1, 1);
  EXPECT_EQ(result(), (Result{{"user", {1, 0}},
                              {"entry", {2, 1}},
                              {"entry;a", {1, 1}},
                              {"thread", {2, 1}},
                              {"thread;b", {1, 1}}}));
}

TEST_F(CallTreeTest, AStaleSlotIsNoCaller) {
  user(1);
  run(kEntry, 1);
  tree.call(kStack, kEntry + 1);
  run(kA, 1);
  tree.return_from(kStack);
  run(kThread, 1);  // the slot was written by something else
  EXPECT_EQ(result(),
            (Result{{"user", {1, 0}}, {"entry", {1, 1}}, {"entry;a", {1, 1}}, {"thread", {1, 1}}}));
}

TEST_F(CallTreeTest, AFaultInTheMiddleOfABlock) {
  user(1);
  run(kEntry, 10, 4);  // the fourth one faults
  run(kPageFault, 2);
  tree.trap_frame(kStack);
  run(kA, 3);  // jumped to
  tree.interrupt_return_from(kStack);
  tree.interrupt_return_from(kStack + 8);
  run(kEntry + 3, 7);
  EXPECT_EQ(
      result(),
      (Result{
          {"user", {1, 0}}, {"entry", {11, 1}}, {"entry;trap", {2, 1}}, {"entry;trap;a", {3, 1}}}));
  EXPECT_EQ(block_instructions, 16U);
}

TEST_F(CallTreeTest, AnInterruptBetweenACallAndItsTarget) {
  user(1);
  run(kEntry, 1);
  tree.call(kStack, kEntry + 1);
  run(kTimer, 2);
  tree.trap_frame(kStack - 0x28);
  tree.call(kStack - 0x100, kTimer + 2);
  run(kB, 1);
  tree.return_from(kStack - 0x100);
  run(kTimer + 2, 1);
  tree.interrupt_return_from(kStack - 0x28);
  run(kA, 1);
  tree.return_from(kStack);
  run(kEntry + 1, 1);
  EXPECT_EQ(result(), (Result{{"user", {1, 0}},
                              {"entry", {2, 1}},
                              {"entry;a", {1, 1}},
                              {"trap", {3, 1}},
                              {"trap;b", {1, 1}}}));
}

TEST_F(CallTreeTest, AnInterruptRightAfterTheReturnFromAnother) {
  user(1);
  run(kEntry, 1);
  tree.call(kStack, kEntry + 1);
  for (int i = 0; i < 3; ++i) {
    run(kTimer, 2);
    tree.trap_frame(kStack - 0x28);
    tree.interrupt_return_from(kStack - 0x28);
  }
  run(kA, 1);
  EXPECT_EQ(result(),
            (Result{{"user", {1, 0}}, {"entry", {1, 1}}, {"entry;a", {1, 1}}, {"trap", {6, 3}}}));
}

TEST_F(CallTreeTest, ABlockThatRunsOnIntoTheNextFunction) {
  user(1);
  run(kB + 0xFFE, 5);  // two instructions of b, three of c
  user(1);
  run(kB + 0xFFE, 5, 1);
  EXPECT_EQ(result(), (Result{{"user", {2, 0}}, {"b", {3, 0}}, {"b;c", {3, 1}}}));
}

TEST_F(CallTreeTest, OnlyWhatIsBetweenTheMarksCounts) {
  user(1);
  run(kEntry, 10);
  user(7);
  tree.start();
  user(2);
  run(kEntry, 3);
  user(4);
  tree.stop();
  user(8);
  run(kEntry, 10);
  tree.start();
  user(16);
  tree.stop();
  EXPECT_EQ(result(), (Result{{"user", {22, 0}}, {"entry", {3, 1}}}));
  EXPECT_EQ(block_instructions, 3U);
}

TEST(InstructionTest, Kinds) {
  using Bytes = std::vector<uint8_t>;
  const std::vector<std::pair<Bytes, InstructionKind>> cases{
      {{0xE8, 1, 2, 3, 4}, InstructionKind::kCall},
      {{0xFF, 0xD0}, InstructionKind::kCall},              // call *%rax
      {{0x41, 0xFF, 0xD3}, InstructionKind::kCall},        // call *%r11
      {{0xFF, 0x15, 1, 2, 3, 4}, InstructionKind::kCall},  // call *memory
      {{0x65, 0xFF, 0x14, 0x25, 0, 0, 0, 0}, InstructionKind::kCall},
      {{0xFF, 0xE0}, InstructionKind::kOther},  // jmp *%rax
      {{0xFF, 0xC0}, InstructionKind::kOther},  // inc %eax
      {{0xC3}, InstructionKind::kReturn},
      {{0xF3, 0xC3}, InstructionKind::kReturn},
      {{0xC2, 8, 0}, InstructionKind::kReturn},
      {{0x48, 0xCF}, InstructionKind::kInterruptReturn},
      {{0xCF}, InstructionKind::kOther},
      {{0x0F, 0x1F, 0x80, 'H', 'P', 'b', '+'}, InstructionKind::kBeginMark},
      {{0x0F, 0x1F, 0x80, 'H', 'P', 'e', '-'}, InstructionKind::kEndMark},
      {{0x0F, 0x1F, 0x80, 0, 0, 0, 0}, InstructionKind::kOther},
      {{0x66}, InstructionKind::kOther},
      {{}, InstructionKind::kOther},
  };
  for (const auto& [bytes, kind] : cases) EXPECT_EQ(classify(bytes), kind) << bytes.size();
}

}  // namespace
}  // namespace holstein::profiler
