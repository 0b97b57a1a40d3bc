// The direct map: all RAM, at one virtual base, writable and never executable.
#pragma once

#include "efi_loader/memory_map.h"
#include "efi_loader/page_tables.h"

namespace holstein::loader {

// The RAM of a memory map in whole 2 MiB pages: sorted, merged, without overlap.
class RamRanges {
 public:
  Result<> collect(Firmware& firmware, const RawMemoryMap& map);

  uint64_t count() const { return count_; }
  const BootRange& at(uint64_t index) const { return ranges_[index]; }
  // First address after the last range; not above kMaxPhysicalAddress.
  uint64_t end() const;

 private:
  void insert(BootRange range);

  BootRange* ranges_ = nullptr;
  uint64_t count_ = 0;
};

// Maps every range at `base` (1 GiB aligned) + its physical address, in 2 MiB pages, or 1 GiB pages
// where the CPU has them and a whole one is RAM.
Result<> map_ram(PageTables& tables, const RamRanges& ram, uint64_t base, const CpuFeatures& cpu);

}  // namespace holstein::loader
