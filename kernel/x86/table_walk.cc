#include "kernel/x86/table_walk.h"

#include <cstring>

#include "kernel/boot.h"
#include "kernel/x86/instructions.h"
#include "vm/frame.h"

namespace holstein::x86 {

std::optional<Leaf> walk_tables(VirtAddr address) {
  if (!address.is_canonical()) {
    return std::nullopt;
  }
  PhysAddr table(read_cr3() & kEntryAddressMask);
  for (unsigned level = kRootLevel; level >= 1; --level) {
    if (table.value() >= boot_info().direct_map_end) {
      return std::nullopt;
    }
    const Entry entry = phys_to_virt<Entry>(table)[entry_index(address, level)];
    if (!entry.is_present()) {
      return std::nullopt;
    }
    if (level == 1 || (level < kRootLevel && entry.is_huge())) {
      return Leaf{.entry = entry, .level = level};
    }
    table = entry.target();
  }
  return std::nullopt;
}

bool read_kernel_word(std::uint64_t address, std::uint64_t& value) {
  if (address < kDirectMapWindowStart || address > UINT64_MAX - sizeof(value) ||
      !walk_tables(VirtAddr(address)).has_value() ||
      !walk_tables(VirtAddr(address + sizeof(value) - 1)).has_value()) {
    return false;
  }
  std::memcpy(&value, reinterpret_cast<const void*>(address), sizeof(value));
  return true;
}

}  // namespace holstein::x86
