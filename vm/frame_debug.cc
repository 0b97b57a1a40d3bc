#include "vm/frame_debug.h"

namespace holstein {

constinit FrameSites* frame_sites = nullptr;

void poison_frame(std::uint64_t pfn) {
  auto* words = phys_to_virt<std::uint64_t>(PhysAddr(pfn << kPageShift));
  std::uint64_t count = kPageSize / sizeof(std::uint64_t);
  asm volatile("rep stosq" : "+D"(words), "+c"(count) : "a"(kFramePoison) : "memory");
}

void check_freed_frame(std::uint64_t pfn, std::uint64_t expected) {
  constexpr std::uint64_t kWords = kPageSize / sizeof(std::uint64_t);
  constexpr std::uint64_t kStep = 8;
  const PhysAddr frame(pfn << kPageShift);
  const auto* words = phys_to_virt<const std::uint64_t>(frame);
  // Eight words for each branch: debug kernels do this for every frame that they take.
  std::uint64_t i = 0;
  while (i < kWords) {
    std::uint64_t differences = 0;
    for (std::uint64_t word = i; word < i + kStep; ++word) {
      differences |= words[word] ^ expected;
    }
    if (differences != 0) [[unlikely]] {
      break;
    }
    i += kStep;
  }
  if (i == kWords) {
    return;
  }
  while (words[i] == expected) {
    ++i;
  }
  panic(
      "frame %#llx was written after it was freed: expected %#llx at offset %#llx, found %#llx; "
      "allocated from %#llx, freed from %#llx",
      static_cast<unsigned long long>(frame.value()), static_cast<unsigned long long>(expected),
      static_cast<unsigned long long>(i * sizeof(std::uint64_t)),
      static_cast<unsigned long long>(words[i]), site_address(frame_sites[pfn].allocated),
      site_address(frame_sites[pfn].freed));
}

void panic_bad_frame_free(PhysAddr frame, CallSite site) {
  const auto address = static_cast<unsigned long long>(frame.value());
  const auto pfn = static_cast<std::uint64_t>(frame.pfn());
  const std::uint64_t end = frame_count << kPageShift;
  if (!is_aligned(frame.value(), kPageSize) || pfn >= frame_count) {
    panic("bad free of frame %#llx from %#llx: expected a frame below %#llx", address,
          site_address(site), static_cast<unsigned long long>(end));
  }
  const Frame& descriptor = frame_table[pfn];
  const FrameSites sites = frame_sites != nullptr ? frame_sites[pfn] : FrameSites{};
  switch (descriptor.kind) {
    case FrameKind::kReserved:
      panic("bad free of frame %#llx from %#llx: it is reserved", address, site_address(site));
    case FrameKind::kFree:
      panic(
          "double free of frame %#llx from %#llx: it was freed from %#llx before (allocated "
          "from %#llx)",
          address, site_address(site), site_address(sites.freed), site_address(sites.allocated));
    default:
      panic(
          "bad free of frame %#llx from %#llx: expected refs 0 or 1, found %u (kind %u, "
          "allocated from %#llx)%s",
          address, site_address(site), descriptor.refs.load(std::memory_order_relaxed),
          static_cast<unsigned>(descriptor.kind), site_address(sites.allocated),
          frame == zero_frame ? ": the zero frame is immortal" : "");
  }
}

}  // namespace holstein
