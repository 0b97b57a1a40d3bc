#include "tests/host/mmu/software_mmu.h"

#include <cstdlib>
#include <iterator>

namespace holstein::testing {
namespace {

constexpr std::uint64_t kPresent = 1ULL << 0;
constexpr std::uint64_t kWritable = 1ULL << 1;
constexpr std::uint64_t kUser = 1ULL << 2;
constexpr std::uint64_t kAccessed = 1ULL << 5;
constexpr std::uint64_t kDirty = 1ULL << 6;
constexpr std::uint64_t kLarge = 1ULL << 7;
constexpr std::uint64_t kNoExecute = 1ULL << 63;
constexpr std::uint64_t kFrameMask = 0x000ffffffffff000;

unsigned shift_of(unsigned level) { return 12 + 9 * (level - 1); }

}  // namespace

void SoftwareMmu::load_root(std::uint64_t root) {
  root_ = root;
  tlb_.clear();
  for (auto& cache : caches_) {
    cache.clear();
  }
}

void SoftwareMmu::invalidate_page(std::uint64_t address) {
  tlb_.erase(address >> 12);
  constexpr std::uint64_t kLargePages = 512;
  const std::uint64_t first = (address >> 12) / kLargePages * kLargePages;
  const auto end = tlb_.lower_bound(first + kLargePages);
  for (auto entry = tlb_.lower_bound(first); entry != end;) {
    entry = entry->second.is_part_of_large ? tlb_.erase(entry) : std::next(entry);
  }
  for (auto& cache : caches_) {
    cache.clear();
  }
}

void SoftwareMmu::invalidate_everything() { load_root(root_); }

std::uint64_t SoftwareMmu::read_entry(std::uint64_t at) const {
  if (at + 8 > bytes_) {
    std::abort();  // a table outside physical memory
  }
  std::uint64_t entry = 0;
  std::memcpy(&entry, memory_ + at, sizeof entry);
  return entry;
}

void SoftwareMmu::set_bits(std::uint64_t at, std::uint64_t bits) {
  const std::uint64_t entry = read_entry(at) | bits;
  std::memcpy(memory_ + at, &entry, sizeof entry);
}

bool SoftwareMmu::permits(const Rights& rights, MmuAccess access) {
  return rights.user && (access != MmuAccess::kWrite || rights.writable) &&
         (access != MmuAccess::kExecute || !rights.no_execute);
}

std::uint32_t SoftwareMmu::error_code(bool present, MmuAccess access) {
  return (present ? kFaultPresent : 0) | (access == MmuAccess::kWrite ? kFaultWrite : 0) |
         kFaultUser | (access == MmuAccess::kExecute ? kFaultInstruction : 0);
}

SoftwareMmu::Translation SoftwareMmu::translate(std::uint64_t address, MmuAccess access) {
  const std::uint64_t page = address >> 12;
  if (auto hit = tlb_.find(page); hit != tlb_.end()) {
    const TlbEntry& entry = hit->second;
    if (!permits(entry.rights, access)) {
      return {.physical = 0, .fault = error_code(true, access)};
    }
    // A first write through a clean translation walks again, to set the dirty bit.
    if (access != MmuAccess::kWrite || entry.dirty) {
      return {.physical = entry.frame | (address & 0xfff), .fault = {}};
    }
  }
  ++walks_;
  unsigned level = 4;
  std::uint64_t table = root_;
  Rights rights;
  for (unsigned cached = 1; cached <= 3; ++cached) {
    auto hit = caches_[cached].find(address >> shift_of(cached + 1));
    if (hit != caches_[cached].end()) {
      level = cached;
      table = hit->second.table;
      rights = hit->second.rights;
      break;
    }
  }
  for (;; --level) {
    const std::uint64_t at = table + ((address >> shift_of(level)) & 511) * 8;
    const std::uint64_t entry = read_entry(at);
    if ((entry & kPresent) == 0) {
      return {.physical = 0, .fault = error_code(false, access)};
    }
    if ((entry & kFrameMask) + 4096 > bytes_ || (level > 2 && (entry & kLarge) != 0)) {
      return {.physical = 0, .fault = error_code(true, access) | kFaultReserved};
    }
    rights.writable = rights.writable && (entry & kWritable) != 0;
    rights.user = rights.user && (entry & kUser) != 0;
    rights.no_execute = rights.no_execute || (entry & kNoExecute) != 0;
    const bool is_leaf = level == 1 || (entry & kLarge) != 0;
    if (!is_leaf) {
      set_bits(at, kAccessed);
      table = entry & kFrameMask;
      caches_[level - 1][address >> shift_of(level)] = {.table = table, .rights = rights};
      continue;
    }
    if (!permits(rights, access)) {
      return {.physical = 0, .fault = error_code(true, access)};
    }
    const bool writes = access == MmuAccess::kWrite;
    set_bits(at, kAccessed | (writes ? kDirty : 0));
    const std::uint64_t offset_mask = (1ULL << shift_of(level)) - 1;
    const std::uint64_t physical = ((entry & kFrameMask) & ~offset_mask) | (address & offset_mask);
    tlb_[page] = {.frame = physical & ~0xfffULL,
                  .rights = rights,
                  .dirty = writes || (entry & kDirty) != 0,
                  .is_part_of_large = level > 1};
    return {.physical = physical, .fault = {}};
  }
}

}  // namespace holstein::testing
