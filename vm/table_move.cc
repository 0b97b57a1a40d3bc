#include "vm/table_move.h"

#include <algorithm>

#include "lib/panic.h"
#include "vm/table_share.h"
#include "vm/tlb.h"

namespace holstein {
namespace {

constexpr std::uint64_t kSlotBytes = entry_span(kHugeLevel);

// A part of a move within one page table on either side, with something mapped in it.
struct MovePiece {
  VirtAddr from;
  VirtAddr to;
  std::uint64_t size_bytes;
  bool is_whole;  // the level-2 entry is moved, whatever it leads to

  unsigned level() const { return is_whole ? kHugeLevel : 1; }
};

bool has_leaves(Entry slot, VirtAddr address, std::uint64_t size_bytes) {
  if (slot.is_huge()) {
    return true;
  }
  const Entry* const first = table_entries(slot.target()) + entry_index(address, 1);
  return std::any_of(first, first + (size_bytes >> kPageShift),
                     [](Entry leaf) { return leaf.is_present(); });
}

// Calls `visit(piece)` for each piece of a move in order; stops at the first failure.
template <class Visit>
Result<void> for_each_piece(PhysAddr root, VirtAddr from, VirtAddr to, std::uint64_t size_bytes,
                            Visit visit) {
  for (std::uint64_t offset = 0; offset < size_bytes;) {
    const VirtAddr source = from + offset;
    const VirtAddr target = to + offset;
    const PathSurvey survey = survey_path(root, source, kHugeLevel);
    if (!survey.entry.is_present()) {
      const std::uint64_t span = entry_span(survey.reached_level);
      offset += span - source.value() % span;
      continue;
    }
    const std::uint64_t size =
        std::min({kSlotBytes - source.value() % kSlotBytes,
                  kSlotBytes - target.value() % kSlotBytes, size_bytes - offset});
    // A table that is left over at the new place, empty, is used.
    const bool is_whole =
        size == kSlotBytes && !survey_path(root, target, kHugeLevel).entry.is_present();
    if (is_whole || has_leaves(survey.entry, source, size)) {
      TRY(visit(MovePiece{.from = source, .to = target, .size_bytes = size, .is_whole = is_whole}));
    }
    offset += size;
  }
  return {};
}

Result<void> prepare_path(PhysAddr root, VirtAddr address, unsigned level) {
  FrameReserve reserve;
  const PathSurvey survey = survey_path(root, address, level);
  TRY(reserve.fill(survey.frames_needed, survey.sparse_needed));
  TRY(make_path_exclusive(root, address, level, reserve));
  return {};
}

}  // namespace

Result<void> prepare_move(PhysAddr root, VirtAddr from, VirtAddr to, std::uint64_t size_bytes) {
  return for_each_piece(root, from, to, size_bytes, [root](MovePiece piece) -> Result<void> {
    TRY(prepare_path(root, piece.from, piece.level()));
    return prepare_path(root, piece.to, piece.level());
  });
}

void move_range(PhysAddr root, VirtAddr from, VirtAddr to, std::uint64_t size_bytes) {
  FrameReserve none;
  const Result<void> moved =
      for_each_piece(root, from, to, size_bytes, [&](MovePiece piece) -> Result<void> {
        TRY_ASSIGN(const TablePath source,
                   make_path_exclusive(root, piece.from, piece.level(), none));
        TRY_ASSIGN(const TablePath target,
                   make_path_exclusive(root, piece.to, piece.level(), none));
        if (piece.is_whole) {
          const Entry entry = *source.entry();
          set_entry(source, Entry());
          set_entry(target, entry);
        } else {
          move_leaves(source, target, static_cast<unsigned>(piece.size_bytes >> kPageShift));
        }
        return {};
      });
  HOLSTEIN_ASSERT(moved.has_value());
  // The frames are the same at either place. The new place had no translations; what the caches of
  // upper-level entries still say of the old one goes with these.
  tlb_flush_user_range(root, from, from + size_bytes);
}

}  // namespace holstein
