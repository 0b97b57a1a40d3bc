// Page-table entries as a type (Intel SDM volume 3, 4.5), and the flags of API.md V3.
#pragma once

#include <cstdint>

#include "lib/address.h"

namespace holstein {

inline constexpr std::uint64_t PAGE_PRESENT = 0x001;
inline constexpr std::uint64_t PAGE_WRITABLE = 0x002;
inline constexpr std::uint64_t PAGE_USER = 0x004;
inline constexpr std::uint64_t PAGE_WRITE_THROUGH = 0x008;
inline constexpr std::uint64_t PAGE_CACHE_DISABLE = 0x010;
inline constexpr std::uint64_t PAGE_ACCESSED = 0x020;
inline constexpr std::uint64_t PAGE_DIRTY = 0x040;
inline constexpr std::uint64_t PAGE_HUGE = 0x080;
inline constexpr std::uint64_t PAGE_GLOBAL = 0x100;
inline constexpr std::uint64_t PAGE_COW = 0x200;     // software: write-protected because shared
inline constexpr std::uint64_t PAGE_SHARED = 0x400;  // software: leaf of a shared mapping (I2)
// Software: a leaf of a PROT_NONE region. The hardware's present bit is clear, the target is kept.
inline constexpr std::uint64_t PAGE_PROT_NONE = 0x800;
// Software: leaf of the zero frame, which is not counted (I1). Bit 52 is ignored by the hardware.
inline constexpr std::uint64_t PAGE_ZERO = 1ULL << 52;
inline constexpr std::uint64_t PAGE_NX = 1ULL << 63;

// Bits 51 to 12: where the frame is. PCD|PWT and bit 12 of huge entries (PAT) are ours to leave 0.
inline constexpr std::uint64_t kEntryAddressMask = 0x000ffffffffff000;
inline constexpr std::uint64_t kEntryFlagsMask = ~kEntryAddressMask;
inline constexpr unsigned kEntriesPerTable = 512;
// Of one cache line: what a bit of Frame::table.occupied_lines stands for.
inline constexpr unsigned kEntriesPerLine = 8;
static_assert(kEntriesPerTable / kEntriesPerLine == 64);
inline constexpr unsigned kRootLevel = 4;
// The level whose entries may be leaves of 2 MiB (PAGE_HUGE) in user space.
inline constexpr unsigned kHugeLevel = 2;
// Root entries 0 to 255 are user space, 256 to 511 the kernel's.
inline constexpr unsigned kUserRootEntries = 256;

class Entry {
 public:
  constexpr Entry() = default;
  constexpr explicit Entry(std::uint64_t bits) : bits_(bits) {}
  constexpr Entry(PhysAddr target, std::uint64_t flags) : bits_(target.value() | flags) {}

  constexpr std::uint64_t bits() const { return bits_; }
  // Holds a target: what counts for references. The hardware may use it only if is_accessible().
  constexpr bool is_present() const { return (bits_ & (PAGE_PRESENT | PAGE_PROT_NONE)) != 0; }
  constexpr bool is_accessible() const { return (bits_ & PAGE_PRESENT) != 0; }
  constexpr bool is_writable() const { return (bits_ & PAGE_WRITABLE) != 0; }
  constexpr bool is_huge() const { return (bits_ & PAGE_HUGE) != 0; }
  constexpr bool is_no_execute() const { return (bits_ & PAGE_NX) != 0; }
  constexpr bool is_cow() const { return (bits_ & PAGE_COW) != 0; }
  constexpr bool is_shared_mapping() const { return (bits_ & PAGE_SHARED) != 0; }
  constexpr bool is_dirty() const { return (bits_ & PAGE_DIRTY) != 0; }
  constexpr bool is_accessed() const { return (bits_ & PAGE_ACCESSED) != 0; }
  constexpr PhysAddr target() const { return PhysAddr(bits_ & kEntryAddressMask); }
  constexpr std::uint64_t flags() const { return bits_ & kEntryFlagsMask; }

  constexpr Entry with(std::uint64_t set, std::uint64_t cleared) const {
    return Entry((bits_ & ~cleared) | set);
  }
  // The entry that both sides of a share hold from now on: every attribute is kept (NX, protection
  // key, accessed, dirty) but the right to write. The one place where a fork derives an entry.
  constexpr Entry as_copy_on_write() const { return with(PAGE_COW, PAGE_WRITABLE); }
  // The entry of a sole owner of something private that may be written again.
  constexpr Entry as_exclusive() const { return with(PAGE_WRITABLE, PAGE_COW); }

  constexpr bool operator==(const Entry&) const = default;

 private:
  std::uint64_t bits_ = 0;
};
static_assert(sizeof(Entry) == 8);

// Bytes that one entry of a table of `level` (4 to 1) covers.
constexpr std::uint64_t entry_span(unsigned level) {
  return 1ULL << (kPageShift + 9 * (level - 1));
}
// True if the present `entry` of a table of `level` maps memory, not a table.
constexpr bool is_leaf(Entry entry, unsigned level) { return level == 1 || entry.is_huge(); }
constexpr unsigned entry_index(VirtAddr address, unsigned level) {
  return static_cast<unsigned>(address.value() >> (kPageShift + 9 * (level - 1))) & 511;
}

}  // namespace holstein
