// The first page tables: see page_tables.h.
#include "efi_loader/page_tables.h"

#include "efi_loader/bytes.h"

namespace holstein::loader {
namespace {

constexpr uint64_t kPresent = 1ULL << 0;
constexpr uint64_t kWritable = 1ULL << 1;
constexpr uint64_t kLargePage = 1ULL << 7;
constexpr uint64_t kNoExecute = 1ULL << 63;
constexpr uint64_t kAddressMask = 0x000ffffffffff000;

constexpr uint64_t kPoolBytes = 64 * kPageSize;

constexpr unsigned shift_of(unsigned level) { return 12 + 9 * level; }

constexpr uint64_t bits_of(Rights rights) {
  switch (rights) {
    case Rights::kReadOnly:
      return kPresent | kNoExecute;
    case Rights::kReadWrite:
      return kPresent | kWritable | kNoExecute;
    case Rights::kReadExecute:
      return kPresent;
  }
  return 0;
}

bool is_canonical(uint64_t address) { return address < 1ULL << 47 || address >= 0 - (1ULL << 47); }

}  // namespace

Result<uint64_t> PageTables::new_table() {
  if (pool_used_ == pool_.bytes) {
    TRY_ASSIGN(pool_, allocate_block(firmware_, MemoryType::kLoaderData, kPoolBytes, kPageSize,
                                     Contents::kZero, "page tables"));
    pool_used_ = 0;
  }
  const uint64_t physical = pool_.physical + pool_used_;
  pool_used_ += kPageSize;
  return physical;
}

Result<uint64_t*> PageTables::entry_at(uint64_t virtual_address, unsigned level) {
  if (root_ == 0) {
    TRY_ASSIGN(root_, new_table());
  }
  uint64_t table = root_;
  for (unsigned at = 3;; --at) {
    auto* entries = reinterpret_cast<uint64_t*>(firmware_.memory_at(table));
    uint64_t* entry = &entries[virtual_address >> shift_of(at) & 511];
    if (at == level) return entry;
    if ((*entry & kPresent) == 0) {
      TRY_ASSIGN(const uint64_t below, new_table());
      *entry = below | kPresent | kWritable;  // rights are the last level's
    } else if ((*entry & kLargePage) != 0) {
      return nullptr;
    }
    table = *entry & kAddressMask;
  }
}

Result<> PageTables::map(uint64_t virtual_start, uint64_t physical_start, uint64_t bytes,
                         Rights rights, uint64_t largest_page_bytes) {
  if (bytes == 0) return {};
  const uint64_t last = virtual_start + (bytes - 1);
  if ((virtual_start | physical_start | bytes) % kPageSize != 0 || last < virtual_start ||
      !is_canonical(virtual_start) || !is_canonical(last) || (virtual_start ^ last) >> 63 != 0 ||
      !fits_within(physical_start, bytes, kAddressMask + kPageSize)) {
    return fail(kInvalidParameter, "cannot map ", Hex{bytes}, " bytes at ", Hex{virtual_start},
                " to ", Hex{physical_start});
  }
  uint64_t done = 0;
  while (done < bytes) {
    const uint64_t virtual_address = virtual_start + done;
    const uint64_t physical = physical_start + done;
    unsigned level = 2;
    while (level > 0) {
      const uint64_t page = 1ULL << shift_of(level);
      if (page <= largest_page_bytes && page <= bytes - done &&
          (virtual_address | physical) % page == 0) {
        break;
      }
      --level;
    }
    TRY_ASSIGN(uint64_t* const entry, entry_at(virtual_address, level));
    if (entry == nullptr || (*entry & kPresent) != 0) {
      return fail(kInvalidParameter, "address ", Hex{virtual_address}, " is mapped twice");
    }
    *entry = physical | bits_of(rights) | (level > 0 ? kLargePage : 0);
    done += 1ULL << shift_of(level);
  }
  return {};
}

}  // namespace holstein::loader
