// A sparse array of frames by page index: a radix tree of 64-way nodes, as high as the highest
// index needs. No locks and no references of its own; vm/page_cache.h keeps both.
#pragma once

#include <cstdint>

#include "lib/address.h"
#include "lib/result.h"

namespace holstein {

// Invariants, checked by validate():
//   T1. No node is empty, but for the leaf that make_slot() has just given out.
//   T2. height_ is 0 if and only if there is no root; 64^height_ is above every index present.
class PageTree {
 public:
  static constexpr std::uint64_t kMaxIndex = 0xffffffff;
  static constexpr unsigned kFanOutBits = 6;
  static constexpr std::uint64_t kFanOut = 1ULL << kFanOutBits;

  constexpr PageTree() = default;
  ~PageTree();  // must be empty
  PageTree(const PageTree&) = delete;
  PageTree& operator=(const PageTree&) = delete;

  // The frame at `index`, or null.
  PhysAddr find(std::uint64_t index) const;
  // The kFanOut slots around `index`, the first of which is for index & ~63; null where all of them
  // are holes. Good until the next change.
  const PhysAddr* block(std::uint64_t index) const;
  // The slot of `index`, for the caller to fill if it is null. ENOMEM leaves the tree as it was;
  // EFBIG: above kMaxIndex.
  [[nodiscard]] Result<PhysAddr*> make_slot(std::uint64_t index);
  // Asks `visit` of each frame in [first, end), in order; true takes it out of the tree.
  void remove(std::uint64_t first, std::uint64_t end, void* context,
              bool (*visit)(void* context, std::uint64_t index, PhysAddr frame));

  bool empty() const { return root_ == nullptr; }
  // Panics unless the invariants hold. Returns how many frames are in the tree.
  std::uint64_t validate() const;

 private:
  struct Node;
  struct Removal;
  static constexpr unsigned kMaxHeight = 6;  // 64^6 is above kMaxIndex

  static bool remove_below(Node& node, unsigned level, std::uint64_t base, const Removal& removal);
  static std::uint64_t validate_below(const Node& node, unsigned level);

  Node* root_ = nullptr;
  unsigned height_ = 0;
};

}  // namespace holstein
