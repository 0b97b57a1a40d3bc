// What a copy may touch around an address of the kernel.
#include <gtest/gtest.h>

#include <cstdint>
#include <string_view>

#include "tests/host/fake/heap_arena.h"
#include "vm/frame.h"
#include "vm/guarded.h"
#include "vm/kmalloc.h"
#include "vm/object_bounds.h"
#include "vm/paging.h"

namespace holstein {
namespace {

using fake::HeapArena;

class ObjectBoundsTest : public testing::Test {
 protected:
  // Whether `address` lies in a `kind` of [start, start + bytes).
  static testing::AssertionResult lies_in(const void* address, std::string_view kind,
                                          const void* start, std::size_t bytes) {
    const auto found = object_bounds(address);
    if (!found.has_value()) {
      return testing::AssertionFailure() << "found nothing";
    }
    const auto first = reinterpret_cast<std::uint64_t>(start);
    if (found->kind != kind || found->start != first || found->end != first + bytes) {
      return testing::AssertionFailure()
             << "found " << found->kind << " of " << found->end - found->start << " bytes, "
             << static_cast<std::int64_t>(found->start - first) << " from where it was expected";
    }
    return testing::AssertionSuccess();
  }
  static testing::AssertionResult is_nothing(const void* address, std::string_view kind) {
    const auto found = object_bounds(address);
    if (!found.has_value() || found->kind != kind || found->start != found->end) {
      return testing::AssertionFailure() << "found " << (found ? found->kind : "nothing");
    }
    return testing::AssertionSuccess();
  }

  HeapArena heap_;
};

TEST_F(ObjectBoundsTest, OfASlabObjectIsWhatWasAskedFor) {
  for (const std::size_t size : {16UL, 50UL, 64UL, 1000UL, 3000UL}) {
    char* objects[4];
    for (char*& object : objects) {
      object = static_cast<char*>(kmalloc(size));
    }
    for (char* object : objects) {
      const std::size_t usable = kmalloc_size(object);
      EXPECT_GE(usable, size);
      EXPECT_TRUE(lies_in(object, "slab object", object, usable));
      EXPECT_TRUE(lies_in(object + size - 1, "slab object", object, usable));
    }
    for (char* object : objects) {
      kfree(object);
    }
  }
}

TEST_F(ObjectBoundsTest, OfALargeBlockIsTheBlockFromEachOfItsPages) {
  auto* block = static_cast<char*>(kmalloc(3 * kPageSize + 100));
  const std::size_t usable = kmalloc_size(block);
  for (std::size_t offset : {0UL, 5000UL, 3 * kPageSize + 99}) {
    EXPECT_TRUE(lies_in(block + offset, "heap block", block, usable));
  }
  kfree(block);
  EXPECT_TRUE(is_nothing(block, "free frame"));
}

TEST_F(ObjectBoundsTest, OfAGuardedBlockEndsAtItsGuardPages) {
  auto* block = static_cast<char*>(kmalloc_guarded(2 * kPageSize));
  heap_label_guarded(block, "label");
  EXPECT_TRUE(lies_in(block + kPageSize + 5, "heap block", block, 2 * kPageSize));
  EXPECT_STREQ(object_bounds(block)->name, "label");
  EXPECT_TRUE(is_nothing(block - 1, "guard page"));
  EXPECT_TRUE(is_nothing(block + 2 * kPageSize, "guard page"));
  kfree_guarded(block);
  EXPECT_TRUE(is_nothing(block, "free heap pages"));
}

TEST_F(ObjectBoundsTest, OfOtherFramesIsThePageUnlessItIsFreeOrATable) {
  const PhysAddr frame = frame_alloc();
  auto* page = phys_to_virt<char>(frame);
  EXPECT_TRUE(lies_in(page + 100, "page", page, kPageSize));
  frame_free(frame);
  EXPECT_TRUE(is_nothing(page + 100, "free frame"));
  const PhysAddr directory = paging_create_directory();
  EXPECT_TRUE(is_nothing(phys_to_virt(directory), "page table"));
  paging_free_directory(directory);
}

TEST_F(ObjectBoundsTest, KnowsNothingOfWhatIsNeitherRamNorHeap) {
  const int local = 0;
  EXPECT_FALSE(object_bounds(&local).has_value());
  EXPECT_FALSE(object_bounds(nullptr).has_value());
}

}  // namespace
}  // namespace holstein
