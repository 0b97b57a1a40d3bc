// Totals that never change after boot. Internal to vm/frame*.cc.
#pragma once

#include <cstdint>

namespace holstein {

struct FrameTotals {
  std::uint64_t total_frames;     // of RAM, with or without a descriptor
  std::uint64_t reserved_frames;  // the part that is never handed out
};
extern FrameTotals frame_totals;

}  // namespace holstein
