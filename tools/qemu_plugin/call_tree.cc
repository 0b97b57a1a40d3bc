#include "tools/qemu_plugin/call_tree.h"

#include <algorithm>
#include <cinttypes>

namespace holstein::profiler {

namespace {

constexpr uint64_t kStubBytes = 16;
constexpr uint64_t kFirstInterrupt = 32;  // lower vectors are exceptions

}  // namespace

FunctionTable::FunctionTable(std::vector<uint64_t> starts, uint64_t stubs_begin, uint64_t stubs_end)
    : starts_(std::move(starts)), stubs_begin_(stubs_begin), stubs_end_(stubs_end) {
  std::ranges::sort(starts_);
}

uint64_t FunctionTable::function_of(uint64_t address) const {
  const auto after = std::ranges::upper_bound(starts_, address);
  if (starts_.empty()) return 0;
  return after == starts_.begin() ? *after : *(after - 1);
}

bool FunctionTable::is_trap_stub(uint64_t address) const {
  return address >= stubs_begin_ && address < stubs_end_ &&
         (address - stubs_begin_) % kStubBytes == 0;
}

bool FunctionTable::is_interrupt_stub(uint64_t address) const {
  return is_trap_stub(address) && (address - stubs_begin_) / kStubBytes >= kFirstInterrupt;
}

CallTree::CallTree(FunctionTable functions) : functions_(std::move(functions)) {
  current_ = &nodes_.emplace_back(Node{nullptr, 0, Link::kCall, 0, 0, 0, {}});
}

Block& CallTree::block(const std::vector<uint64_t>& addresses) {
  std::vector<std::unique_ptr<Block>>& same_start = blocks_[addresses.front()];
  for (const std::unique_ptr<Block>& known : same_start) {
    uint64_t length = 0;
    for (const auto& [function, count] : known->parts) length += count;
    if (length == addresses.size()) return *known;
  }
  auto made = std::make_unique<Block>(Block{addresses.front(), {}, 0, 0});
  for (const uint64_t address : addresses) {
    const uint64_t function = functions_.function_of(address);
    if (made->parts.empty() || made->parts.back().first != function) {
      made->parts.emplace_back(function, 0);
    }
    ++made->parts.back().second;
  }
  return *same_start.emplace_back(std::move(made));
}

CallTree::Frame& CallTree::frame(uint64_t slot) {
  std::unique_ptr<FramePage>& page = frames_[slot / 8 / kSlotsPerPage];
  if (page == nullptr) page = std::make_unique<FramePage>();
  return (*page)[slot / 8 % kSlotsPerPage];
}

CallTree::Node* CallTree::child(Node* parent, uint64_t function, Link link) {
  for (Node* known : parent->children) {
    if (known->function == function && known->link == link) return known;
  }
  Node* made = &nodes_.emplace_back(Node{parent, function, link, 0, 0, 0, {}});
  parent->children.push_back(made);
  return made;
}

// Two functions that jump to each other must not make a chain without end.
void CallTree::jump_to(uint64_t function) {
  if (current_->function == function) return;
  for (Node* node = current_; node->link == Link::kJump; node = node->parent) {
    if (node->parent->function == function) {
      current_ = node->parent;
      return;
    }
  }
  current_ = child(current_, function, Link::kJump);
}

void CallTree::count_call(const Block& block) {
  if (is_counting_ && current_->function == block.address) ++current_->calls;
}

// Puts down what was executed since the last time; only running_ can have been.
void CallTree::settle() {
  uint64_t rest = kernel_instructions - kernel_seen_;
  kernel_seen_ = kernel_instructions;
  if (running_ == nullptr || rest == 0) return;
  uint64_t begin = 0;
  for (const auto& [function, length] : running_->parts) {
    const uint64_t end = begin + length;
    if (executed_of_running_ < end && rest > 0) {
      const uint64_t count = std::min(rest, end - executed_of_running_);
      if (executed_of_running_ == begin && begin != 0) {  // ran on into the next function
        jump_to(function);
        if (is_counting_) ++current_->calls;
      }
      executed_of_running_ += count;
      rest -= count;
      if (is_counting_) {
        current_->instructions += count;
        running_->instructions += count;
      }
    }
    begin = end;
  }
}

void CallTree::enter(Block& block) {
  settle();
  if (user_instructions != user_seen_) {
    user_seen_ = user_instructions;
    current_ = &nodes_.front();
    transfer_ = {};
  }
  resolve(block);
  running_ = &block;
  executed_of_running_ = 0;
  if (is_counting_) ++block.executions;
}

// Back to what the trap came into, which may be another transfer that is still open. This must not
// wait for the next block: where that is another trap's, its frame has the same slot.
void CallTree::finish_interrupt_return() {
  while (transfer_.kind == Transfer::Kind::kInterruptReturn) {
    const Frame& found = frame(transfer_.slot);
    const bool is_known = found.node != nullptr && found.is_trap;
    current_ = is_known ? found.node : &nodes_.front();
    transfer_ = is_known ? found.transfer : Transfer{};
  }
}

void CallTree::resolve(const Block& block) {
  finish_interrupt_return();
  Node* const root = &nodes_.front();
  const uint64_t function = block.parts.front().first;
  if (functions_.is_trap_stub(block.address)) {
    // An exception is the work of who made it; an interrupt is nobody's.
    trapped_ = Frame{current_, true, 0, std::exchange(transfer_, {})};
    Node* const cause = functions_.is_interrupt_stub(block.address) ? root : current_;
    current_ = child(cause, function, Link::kCall);
    if (is_counting_) ++current_->calls;
    return;
  }
  const Transfer transfer = std::exchange(transfer_, {});
  switch (transfer.kind) {
    case Transfer::Kind::kNone:
    case Transfer::Kind::kInterruptReturn:
      break;
    case Transfer::Kind::kCall:
      current_ = child(current_, function, Link::kCall);
      count_call(block);
      return;
    case Transfer::Kind::kReturn: {
      const Frame& found = frame(transfer.slot);
      const bool is_known =
          found.node != nullptr && !found.is_trap && found.return_address == block.address;
      current_ = is_known ? found.node : root;
      break;
    }
  }
  if (current_ == root) {
    current_ = child(root, function, Link::kCall);
    count_call(block);
  } else if (current_->function != function) {
    jump_to(function);
    count_call(block);
  }
}

void CallTree::call(uint64_t slot, uint64_t return_address) {
  settle();  // current_ is the caller, wherever its block began
  frame(slot) = Frame{current_, false, return_address, {}};
  transfer_ = {Transfer::Kind::kCall, slot};
}

void CallTree::return_from(uint64_t slot) { transfer_ = {Transfer::Kind::kReturn, slot}; }

void CallTree::trap_frame(uint64_t slot) { frame(slot) = trapped_; }

void CallTree::interrupt_return_from(uint64_t slot) {
  // Five words are read; the first is RIP.
  if (transfer_.kind == Transfer::Kind::kNone) {
    transfer_ = {Transfer::Kind::kInterruptReturn, slot};
  }
}

void CallTree::start() {
  settle();
  if (!was_started_) {
    was_started_ = true;
    for (Node& node : nodes_) node.calls = node.instructions = 0;
    for (auto& [address, blocks] : blocks_) {
      for (const std::unique_ptr<Block>& block : blocks)
        block->executions = block->instructions = 0;
    }
    user_counted_ = 0;
  } else if (is_counting_) {
    return;
  }
  user_start_ = user_instructions;
  is_counting_ = true;
}

void CallTree::stop() {
  settle();
  if (!is_counting_) return;
  user_counted_ += user_instructions - user_start_;
  is_counting_ = false;
}

bool CallTree::write(FILE* file) {
  const bool is_marked = was_started_;
  stop();
  fprintf(file, "holstein-profile 1\nmarked %d\nuser %" PRIu64 "\n", is_marked, user_counted_);
  uint64_t number = 0;
  for (Node& node : nodes_) node.number = number++;  // a parent before its children
  for (const Node& node : nodes_) {
    if (node.parent == nullptr) continue;
    fprintf(file, "node %" PRIu64 " %" PRIu64 " %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", node.number,
            node.parent->number, node.function, node.instructions, node.calls);
  }
  for (const auto& [address, blocks] : blocks_) {
    for (const std::unique_ptr<Block>& block : blocks) {
      if (block->executions == 0) continue;
      uint64_t length = 0;
      for (const auto& [function, count] : block->parts) length += count;
      fprintf(file, "block %" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", address, length,
              block->executions, block->instructions);
    }
  }
  fputs("end\n", file);
  return fflush(file) == 0 && ferror(file) == 0;
}

}  // namespace holstein::profiler
