// Freed frames that hold zeroes: tables get them back and need not clear them.
#include <gtest/gtest.h>

#include <span>
#include <vector>

#include "tests/host/fake/arena.h"
#include "vm/frame.h"

namespace holstein {
namespace {

using fake::Arena;

PhysAddr zeroed_table() {
  const PhysAddr table = frame_alloc_kind(FrameKind::kTable);
  clear_frame(table);
  return table;
}

TEST(ZeroedFrameTest, ComesBackToTablesAloneAndNeedsNoClearing) {
  Arena arena;
  const PhysAddr table = zeroed_table();
  const std::uint64_t free_before = frame_get_free_memory();
  frame_free_zeroed(table);
  EXPECT_EQ(frame_get_free_memory(), free_before + kPageSize);
  validate_frames();
  const PhysAddr page = frame_alloc_kind(FrameKind::kAnonymous);
  EXPECT_NE(page, table);
  EXPECT_EQ(frame_alloc_kind(FrameKind::kTable), table);
  // Nobody writes to it if it is known to be zero, which this makes visible.
  phys_to_virt<unsigned char>(table)[77] = 1;
  frame_ensure_zeroed(table);
  EXPECT_EQ(phys_to_virt<unsigned char>(table)[77], 1);
  frame_ensure_zeroed(table);  // once only
  EXPECT_EQ(phys_to_virt<unsigned char>(table)[77], 0);
  // Only as many as are asked for come from there.
  frame_free_zeroed(table);
  PhysAddr several[2];
  ASSERT_EQ(frame_alloc_several(FrameKind::kTable, several, 0), 2U);
  EXPECT_NE(several[0], table);
  EXPECT_NE(several[1], table);
  frame_free(several[0]);
  frame_free(several[1]);
  ASSERT_EQ(frame_alloc_several(FrameKind::kTable, std::span(several).first(1), 1), 1U);
  ASSERT_EQ(several[0], table);
  frame_ensure_zeroed(table);
  // What is known of it is forgotten when it is freed in the ordinary way.
  frame_free_zeroed(table);
  ASSERT_EQ(frame_alloc_kind(FrameKind::kTable), table);
  phys_to_virt<unsigned char>(table)[77] = 1;
  frame_free(table);
  const PhysAddr next = frame_alloc_kind(FrameKind::kTable);
  EXPECT_EQ(next, table);
  frame_ensure_zeroed(next);
  EXPECT_EQ(phys_to_virt<unsigned char>(next)[77], 0);
  frame_free(next);
  frame_free(page);
  validate_frames();
}

TEST(ZeroedFrameTest, IsUsedForOtherThingsWhenNothingElseIsLeft) {
  Arena arena;
  std::vector<PhysAddr> tables;
  for (int i = 0; i < 40; ++i) {  // more than are kept
    tables.push_back(zeroed_table());
  }
  for (const PhysAddr table : tables) {
    frame_free_zeroed(table);
  }
  validate_frames();
  std::vector<PhysAddr> frames;
  const std::uint64_t free_frames = frame_get_free_memory() / kPageSize;
  for (PhysAddr frame = frame_alloc(); !frame.is_null(); frame = frame_alloc()) {
    frames.push_back(frame);
  }
  EXPECT_EQ(frames.size(), free_frames);
  EXPECT_EQ(frame_get_free_memory(), 0U);
  for (const PhysAddr frame : frames) {
    frame_free(frame);
  }
  validate_frames();
}

TEST(ZeroedFrameDeathTest, WriteAfterFreeIsFoundWhenTheFrameIsHandedOutAgain) {
  Arena arena;
  EXPECT_DEATH(
      {
        const PhysAddr table = zeroed_table();
        frame_free_zeroed(table);
        phys_to_virt<unsigned char>(table)[123] = 1;
        static_cast<void>(frame_alloc_kind(FrameKind::kTable));
      },
      "was written after it was freed: expected 0 at offset 0x78");
  EXPECT_DEATH(
      {
        const PhysAddr table = zeroed_table();
        frame_free_zeroed(table);
        frame_free_zeroed(table);
      },
      "double free");
}

}  // namespace
}  // namespace holstein
