// The direct map: see direct_map.h.
#include "efi_loader/direct_map.h"

#include "efi_loader/bytes.h"

namespace holstein::loader {

Result<> RamRanges::collect(Firmware& firmware, const RawMemoryMap& map) {
  const uint64_t most = map.size_bytes / map.stride_bytes;
  TRY_ASSIGN(const Block block,
             allocate_block(firmware, MemoryType::kLoaderData, most * sizeof(BootRange), kPageSize,
                            Contents::kUnspecified, "the list of RAM"));
  ranges_ = reinterpret_cast<BootRange*>(block.memory);
  const uint64_t limit = physical_limit(firmware.cpu_features());
  for_each_descriptor(map, [&](const BootMemoryDescriptor& descriptor) {
    if (!is_ram(descriptor)) return;
    const BootRange range = sane_range(descriptor, limit);
    if (range.size_bytes == 0) return;
    const uint64_t start = align_down(range.start, kHugePageSize);
    const uint64_t end = align_up(range.start + range.size_bytes, kHugePageSize);
    insert({.start = start, .size_bytes = end - start});
  });
  return {};
}

// Keeps `ranges_` sorted and apart: merges `range` with all that it touches. Firmware lists memory
// nearly in order, so the search starts at the end.
void RamRanges::insert(BootRange range) {
  uint64_t first = count_;  // first of the ranges that are not wholly below `range`
  while (first > 0 && ranges_[first - 1].start + ranges_[first - 1].size_bytes >= range.start) {
    --first;
  }
  uint64_t last = first;  // first of the ranges that are wholly above it
  uint64_t end = range.start + range.size_bytes;
  while (last < count_ && ranges_[last].start <= end) {
    const uint64_t other_end = ranges_[last].start + ranges_[last].size_bytes;
    if (ranges_[last].start < range.start) range.start = ranges_[last].start;
    if (other_end > end) end = other_end;
    ++last;
  }
  range.size_bytes = end - range.start;
  // One range takes the place of [first, last).
  if (last == first) {
    for (uint64_t i = count_; i > first; --i) ranges_[i] = ranges_[i - 1];
    ++count_;
  } else {
    for (uint64_t i = last; i < count_; ++i) ranges_[i - (last - first) + 1] = ranges_[i];
    count_ -= last - first - 1;
  }
  ranges_[first] = range;
}

uint64_t RamRanges::end() const {
  return count_ == 0 ? 0 : ranges_[count_ - 1].start + ranges_[count_ - 1].size_bytes;
}

Result<> map_ram(PageTables& tables, const RamRanges& ram, uint64_t base, const CpuFeatures& cpu) {
  const uint64_t largest = cpu.gigabyte_pages ? kGigabyte : kHugePageSize;
  for (uint64_t i = 0; i < ram.count(); ++i) {
    const BootRange& range = ram.at(i);
    TRY(tables.map(base + range.start, range.start, range.size_bytes, Rights::kReadWrite, largest));
  }
  return {};
}

}  // namespace holstein::loader
