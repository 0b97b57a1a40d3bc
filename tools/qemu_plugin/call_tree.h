// Follows a kernel's calls from what an emulator sees of it, and counts instructions by the chain
// of functions that led to them.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace holstein::profiler {

// Where functions begin; addresses before the first one belong to it.
class FunctionTable {
 public:
  // `stubs_begin` to `stubs_end`: 256 stubs of 16 bytes, one a vector, where the CPU enters the
  // kernel at exceptions and interrupts.
  FunctionTable(std::vector<uint64_t> starts, uint64_t stubs_begin, uint64_t stubs_end);

  uint64_t function_of(uint64_t address) const;
  bool is_trap_stub(uint64_t address) const;
  bool is_interrupt_stub(uint64_t address) const;

 private:
  std::vector<uint64_t> starts_;  // ascending
  uint64_t stubs_begin_, stubs_end_;
};

// Straight code that runs from its first instruction on, perhaps not to its end: a fault can leave
// it anywhere.
struct Block {
  uint64_t address;
  // Functions and how many instructions each has of it, in order: assembly may run on from one
  // function's end into the next.
  std::vector<std::pair<uint64_t, uint64_t>> parts;
  uint64_t executions = 0;
  uint64_t instructions = 0;  // that were executed
};

// One CPU's. Calls are found by the addresses of their return addresses: each stack slot in which a
// call has put one remembers who called. So threads need no names, and a switch of stacks is
// understood by the return that follows it. A return to an address that no call left there (a new
// thread's first) begins a new chain.
class CallTree {
 public:
  explicit CallTree(FunctionTable functions);

  // QEMU adds to these, before each instruction.
  uint64_t kernel_instructions = 0;
  uint64_t user_instructions = 0;

  const FunctionTable& functions() const { return functions_; }
  // The block of `addresses.size()` instructions at those addresses; the same one each time.
  Block& block(const std::vector<uint64_t>& addresses);

  // In the order in which the CPU does it:
  void enter(Block& block);  // `block` is about to run
  void call(uint64_t slot, uint64_t return_address);
  void return_from(uint64_t slot);
  void trap_frame(uint64_t slot);             // a trap stub runs; RIP was saved in `slot`
  void interrupt_return_from(uint64_t slot);  // in kernel mode or to user mode

  // What runs between these is counted; what was counted before the first start() is forgotten.
  void start();
  void stop();

  // Lines of text: docs/profiling.md. False where they could not be written.
  bool write(FILE* file);

 private:
  enum class Link : uint8_t { kCall, kJump };
  struct Node {
    Node* parent;
    uint64_t function;
    Link link;  // a jump: a tail call, which returns to who called `parent`
    uint64_t calls = 0;
    uint64_t instructions = 0;
    uint64_t number = 0;  // in the output
    std::vector<Node*> children;
  };
  // What the last instruction of a block has done, to be understood when it is known where it led.
  struct Transfer {
    enum class Kind : uint8_t { kNone, kCall, kReturn, kInterruptReturn } kind = Kind::kNone;
    uint64_t slot = 0;
  };
  struct Frame {
    Node* node = nullptr;  // to return to
    bool is_trap = false;
    uint64_t return_address = 0;  // of a call
    Transfer transfer;            // that a trap came in between
  };
  static constexpr uint64_t kSlotsPerPage = 512;
  using FramePage = std::array<Frame, kSlotsPerPage>;

  Frame& frame(uint64_t slot);
  Node* child(Node* parent, uint64_t function, Link link);
  void jump_to(uint64_t function);
  void finish_interrupt_return();
  void resolve(const Block& block);
  void count_call(const Block& block);
  void settle();

  FunctionTable functions_;
  std::unordered_map<uint64_t, std::vector<std::unique_ptr<Block>>> blocks_;
  std::unordered_map<uint64_t, std::unique_ptr<FramePage>> frames_;
  std::deque<Node> nodes_;  // the first one is the root
  Node* current_;
  Transfer transfer_;
  Frame trapped_;  // what the trap stub that runs has interrupted
  Block* running_ = nullptr;
  uint64_t executed_of_running_ = 0;
  uint64_t kernel_seen_ = 0, user_seen_ = 0;  // of the two counters
  uint64_t user_counted_ = 0, user_start_ = 0;
  bool is_counting_ = true;
  bool was_started_ = false;
};

}  // namespace holstein::profiler
