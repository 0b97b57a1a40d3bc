#include "tests/host/fake/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <utility>

#include "lib/panic.h"
#include "tests/host/fake/mmu.h"
#include "vm/frame_debug.h"

namespace holstein::fake {
namespace {

std::atomic<bool> arena_is_active = false;

// The last machine's memory, kept for the next one of its size.
struct KeptMemory {
  void* base = nullptr;
  std::uint64_t bytes = 0;
};
KeptMemory kept;

std::vector<BootMemoryDescriptor> ordinary_map(std::uint64_t mebibytes) {
  constexpr std::uint64_t kMiB = 1ULL << 20;
  const std::uint64_t end = mebibytes * kMiB;
  // The pieces lie where OVMF puts them: low RAM, a boot-services island, firmware data near the
  // end.
  return {
      describe(kEfiConventional, 0, 0xa0000),
      describe(kEfiReserved, 0xa0000, 0x60000),
      describe(kEfiConventional, kMiB, 3 * kMiB),
      describe(kEfiBootServicesData, 4 * kMiB, kMiB),
      describe(kEfiConventional, 5 * kMiB, end - 6 * kMiB),
      describe(kEfiAcpiReclaim, end - kMiB, 0x20000),
      describe(kEfiAcpiNvs, end - kMiB + 0x20000, 0x10000),
      describe(kEfiRuntimeServicesData, end - kMiB + 0x30000, 0x10000, kEfiWriteBack | kEfiRuntime),
      describe(kEfiBootServicesCode, end - kMiB + 0x40000, kMiB - 0x40000),
      describe(kEfiMmio, end + 16 * kMiB, kMiB, 1),
  };
}

void report_frames_out() {
  unsigned shown = 0;
  for (std::uint64_t pfn = 0; pfn < frame_count && shown < 16; ++pfn) {
    const Frame& frame = frame_table[pfn];
    if (frame.kind > FrameKind::kFree && site_address(frame_sites[pfn].allocated) != 0) {
      std::fprintf(stderr, "  frame %#llx kind %u refs %u allocated from %#llx\n",
                   static_cast<unsigned long long>(pfn << kPageShift),
                   static_cast<unsigned>(frame.kind), frame.refs.load(),
                   site_address(frame_sites[pfn].allocated));
      ++shown;
    }
  }
}

}  // namespace

BootMemoryDescriptor describe(std::uint32_t type, std::uint64_t start, std::uint64_t bytes,
                              std::uint64_t attributes) {
  return {.type = type,
          .reserved = 0,
          .physical_start = start,
          .page_count = bytes >> kPageShift,
          .attributes = attributes};
}

PhysicalMemory::PhysicalMemory(std::uint64_t bytes) : bytes_(bytes) {
  if (kept.bytes == bytes) {
    base_ = std::exchange(kept, {}).base;
  } else {
    base_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    HOLSTEIN_ASSERT(base_ != MAP_FAILED);
  }
  direct_map_base = reinterpret_cast<std::uint64_t>(base_);
}

PhysicalMemory::~PhysicalMemory() {
  if (kept.base != nullptr) {
    ::munmap(kept.base, kept.bytes);
  }
  kept = {.base = base_, .bytes = bytes_};
  direct_map_base = 0;
}

Arena::Arena(std::uint64_t mebibytes) : Arena(mebibytes << 20, ordinary_map(mebibytes)) {}

Arena::Arena(std::uint64_t span_bytes, std::span<const BootMemoryDescriptor> map,
             std::span<const BootRange> in_use)
    : memory_(span_bytes) {
  HOLSTEIN_ASSERT(!arena_is_active);
  allocation_fail_nth(0, false);
  const FirmwareMemory firmware = {.descriptors = map.data(), .count = map.size()};
  const Result<void> result = frames_init(firmware, span_bytes, in_use.data(), in_use.size());
  if (!result.has_value()) {
    panic("frames_init: %s", errno_name(result.error()));
  }
  arena_is_active = true;
  accept_frames_out();
}

Arena::~Arena() {
  arena_is_active = false;
  allocation_fail_nth(0, false);
  give_back();
  validate_frames();
  if (frames_out() != 0) {
    report_frames_out();
    panic("%lld frames are not back", static_cast<long long>(frames_out()));
  }
  set_mmu_hooks(nullptr);
}

bool Arena::is_active() { return arena_is_active; }

std::uint64_t Arena::frames_out() const {
  return free_at_start_ - (frame_get_free_memory() >> kPageShift);
}

void Arena::accept_frames_out() { free_at_start_ = frame_get_free_memory() >> kPageShift; }

void Arena::take_all_but(std::uint64_t left) {
  while (frame_get_free_memory() >> kPageShift > left) {
    const PhysAddr frame = frame_alloc();
    HOLSTEIN_ASSERT(!frame.is_null());
    taken_.push_back(frame);
  }
}

void Arena::give_back() {
  for (const PhysAddr frame : taken_) {
    frame_free(frame);
  }
  taken_.clear();
}

}  // namespace holstein::fake
