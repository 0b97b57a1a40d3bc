// Mappings of device registers in a range of their own (API.md V4).
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/address.h"
#include "lib/result.h"
#include "vm/page_table.h"

namespace holstein {

// How a mapping is cached: 0 is write-back. kernel/x86 programs the page attribute table so.
inline constexpr std::uint64_t kDeviceUncached = PAGE_CACHE_DISABLE;
inline constexpr std::uint64_t kDeviceWriteCombining = PAGE_CACHE_DISABLE | PAGE_WRITE_THROUGH;

// Gives the mappings their window. Once, at boot.
void device_map_init(VirtAddr window_start, VirtAddr window_end);

// Maps [physical, physical + size_bytes) never executable, with an unmapped page behind it, and
// returns where its first byte is. `flags`: PAGE_WRITABLE, PAGE_CACHE_DISABLE, PAGE_WRITE_THROUGH.
// EINVAL: empty, wraps, or other flags. EBUSY: touches RAM that the frame allocator manages.
// ENOMEM: no room in the window, or no frame for a table. A failure leaves nothing mapped.
[[nodiscard]] Result<void*> mm_map_physical(PhysAddr physical, std::size_t size_bytes,
                                            std::uint64_t flags);
// Undoes mm_map_physical(); `address` is what it returned. 0, or -EINVAL where nothing is mapped
// there.
int mm_unmap_physical(void* address);

}  // namespace holstein
