#include "vm/page_tree.h"

#include <algorithm>
#include <iterator>
#include <new>

#include "lib/panic.h"

namespace holstein {

// 512 bytes: half a kilobyte for each 256 KiB of a file. A node of level 1 holds frames, the others
// hold nodes.
struct PageTree::Node {
  union {
    PhysAddr frames[kFanOut];
    Node* nodes[kFanOut];
  };
  Node() : nodes{} {}
};

struct PageTree::Removal {
  std::uint64_t first;
  std::uint64_t end;
  void* context;
  bool (*visit)(void* context, std::uint64_t index, PhysAddr frame);
};

namespace {

// Pages below one slot of a node of `level`.
constexpr std::uint64_t slot_pages(unsigned level) {
  return 1ULL << (PageTree::kFanOutBits * (level - 1));
}

constexpr std::size_t slot_of(std::uint64_t index, unsigned level) {
  return (index >> (PageTree::kFanOutBits * (level - 1))) % PageTree::kFanOut;
}

// Nodes on the way from a root of `height` to a leaf; indices that it covers.
constexpr bool covers(unsigned height, std::uint64_t index) {
  return height != 0 && index >> (PageTree::kFanOutBits * height) == 0;
}

}  // namespace

PageTree::~PageTree() { HOLSTEIN_ASSERT(root_ == nullptr); }

const PhysAddr* PageTree::block(std::uint64_t index) const {
  if (!covers(height_, index)) {
    return nullptr;
  }
  const Node* node = root_;
  for (unsigned level = height_; level > 1 && node != nullptr; --level) {
    node = node->nodes[slot_of(index, level)];
  }
  return node != nullptr ? node->frames : nullptr;
}

PhysAddr PageTree::find(std::uint64_t index) const {
  const PhysAddr* slots = block(index);
  return slots != nullptr ? slots[index % kFanOut] : PhysAddr();
}

Result<PhysAddr*> PageTree::make_slot(std::uint64_t index) {
  if (index > kMaxIndex) {
    return fail(Errno::kEFBIG);
  }
  unsigned height = std::max(height_, 1U);
  while (!covers(height, index)) {
    ++height;
  }
  // All nodes that are missing, before anything is changed: those above the old root, and those
  // from where the path to `index` ends.
  std::size_t missing = root_ != nullptr ? height - height_ : 0;
  unsigned level = height;
  if (root_ == nullptr) {
    missing += height;
  } else if (height > height_) {
    // The path leaves the old root at the new one; all below is new, unless `index` were covered.
    missing += height - 1;
  } else {
    const Node* node = root_;
    for (; level > 1; --level) {
      const Node* child = node->nodes[slot_of(index, level)];
      if (child == nullptr) {
        missing += level - 1;
        break;
      }
      node = child;
    }
  }
  Node* spare[2 * kMaxHeight];
  HOLSTEIN_ASSERT(missing <= std::size(spare));
  for (std::size_t i = 0; i < missing; ++i) {
    spare[i] = new (std::nothrow) Node;
    if (spare[i] == nullptr) {
      while (i > 0) {
        delete spare[--i];
      }
      return fail(Errno::kENOMEM);
    }
  }

  if (root_ == nullptr) {
    root_ = spare[--missing];
    height_ = height;
  }
  for (; height_ < height; ++height_) {
    Node* above = spare[--missing];
    above->nodes[0] = root_;
    root_ = above;
  }
  Node* node = root_;
  for (level = height_; level > 1; --level) {
    Node*& child = node->nodes[slot_of(index, level)];
    if (child == nullptr) {
      child = spare[--missing];
    }
    node = child;
  }
  HOLSTEIN_ASSERT(missing == 0);
  return &node->frames[index % kFanOut];
}

// Returns true if `node`, whose first page is `base`, is empty afterwards. Recurses at most
// kMaxHeight deep.
bool PageTree::remove_below(Node& node, unsigned level, std::uint64_t base,
                            const Removal& removal) {
  const std::uint64_t pages = slot_pages(level);
  bool is_empty = true;
  for (std::size_t i = 0; i < kFanOut; ++i) {
    const std::uint64_t slot_first = base + i * pages;
    const bool is_inside = slot_first < removal.end && slot_first + pages > removal.first;
    if (level == 1) {
      PhysAddr& frame = node.frames[i];
      if (!frame.is_null() && is_inside && removal.visit(removal.context, slot_first, frame)) {
        frame = PhysAddr();
      }
      is_empty &= frame.is_null();
      continue;
    }
    Node*& child = node.nodes[i];
    if (child != nullptr && is_inside && remove_below(*child, level - 1, slot_first, removal)) {
      delete child;
      child = nullptr;
    }
    is_empty &= child == nullptr;
  }
  return is_empty;
}

void PageTree::remove(std::uint64_t first, std::uint64_t end, void* context,
                      bool (*visit)(void* context, std::uint64_t index, PhysAddr frame)) {
  if (root_ == nullptr || first >= end) {
    return;
  }
  const Removal removal = {.first = first, .end = end, .context = context, .visit = visit};
  if (remove_below(*root_, height_, 0, removal)) {
    delete root_;
    root_ = nullptr;
    height_ = 0;
  }
}

std::uint64_t PageTree::validate_below(const Node& node, unsigned level) {
  std::uint64_t frames = 0;
  for (std::size_t i = 0; i < kFanOut; ++i) {
    if (level == 1) {
      frames += node.frames[i].is_null() ? 0 : 1;
    } else if (node.nodes[i] != nullptr) {
      const std::uint64_t below = validate_below(*node.nodes[i], level - 1);
      if (below == 0) {
        panic("page tree: an empty node of level %u (T1)", level - 1);
      }
      frames += below;
    }
  }
  return frames;
}

std::uint64_t PageTree::validate() const {
  if ((root_ == nullptr) != (height_ == 0) || height_ > kMaxHeight) {
    panic("page tree: height %u %s a root (T2)", height_, root_ == nullptr ? "without" : "with");
  }
  return root_ != nullptr ? validate_below(*root_, height_) : 0;
}

}  // namespace holstein
