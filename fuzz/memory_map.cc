// The firmware's memory map: what the loader makes of it, and the table and the free frames that
// the kernel makes of that. No frame is handed out that a sane descriptor keeps back.
#include "efi_loader/memory_map.h"

#include <vector>

#include "fuzz/input.h"
#include "tests/host/fake/arena.h"
#include "tests/host/loader/fake_firmware.h"
#include "vm/frame.h"
#include "vm/memory_map.h"

namespace holstein::fuzz {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kSpan = 16 * kMiB;

BootMemoryDescriptor choose_descriptor(Input& input) {
  BootMemoryDescriptor descriptor = {};
  const std::uint8_t shape = input.byte();
  descriptor.type = (shape & 1) != 0 ? input.byte() % 17u : input.take<std::uint32_t>();
  descriptor.attributes = (shape & 2) != 0 ? 0xf : input.take<std::uint64_t>();
  if ((shape & 4) != 0) {  // within the span
    descriptor.physical_start = input.below(kSpan >> 12) << 12;
    descriptor.page_count = input.below(600);
  } else {
    descriptor.physical_start = input.take<std::uint64_t>();
    descriptor.page_count = input.take<std::uint64_t>();
  }
  return descriptor;
}

void check_table() {
  std::uint64_t position = 0;
  for (const MemoryRegion& region : memory_map()) {
    FUZZ_CHECK(region.start >= position && region.start < region.end);
    FUZZ_CHECK(region.start % kPageSize == 0 && region.end % kPageSize == 0);
    FUZZ_CHECK(region.kind != MemoryKind::kNone && region.name != nullptr);
    FUZZ_CHECK(region.kind != MemoryKind::kUsable || region.start >= kMiB);
    position = region.end;
  }
  validate_frames();
  frame_stats_t stats;
  frame_get_stats(&stats);
  FUZZ_CHECK(stats.free_frames + stats.reserved_frames + stats.user_frames <= stats.total_frames);
}

// Is the frame in a descriptor that keeps it from being used?
bool is_kept_back(const std::vector<BootMemoryDescriptor>& map, std::uint64_t frame) {
  for (const BootMemoryDescriptor& descriptor : map) {
    constexpr std::uint64_t kMost = std::uint64_t{1} << 52;
    const std::uint64_t start = descriptor.physical_start;
    if (start >= kMost || descriptor.page_count > (kMost - start) >> 12 ||
        descriptor.page_count == 0) {
      continue;  // absurd
    }
    const std::uint64_t end = start + (descriptor.page_count << 12);
    const bool is_usable_type =
        (descriptor.type >= 1 && descriptor.type <= 4) || descriptor.type == fake::kEfiConventional;
    if (!is_usable_type && frame + kPageSize > start && frame < end) {
      return true;
    }
  }
  return false;
}

void kernel(Input& input) {
  const std::size_t in_use_count = input.below(4);
  std::vector<BootRange> in_use(in_use_count);
  for (BootRange& range : in_use) {
    range = {.start = input.below(kSpan), .size_bytes = input.below(kMiB)};
  }
  std::vector<BootMemoryDescriptor> map;
  while (!input.empty() && map.size() < 200) {
    map.push_back(choose_descriptor(input));
  }
  fake::PhysicalMemory memory(kSpan);
  allocation_fail_nth(0, false);
  const FirmwareMemory firmware = {.descriptors = map.data(), .count = map.size()};
  const Result<void> made = frames_init(firmware, kSpan, in_use.data(), in_use.size());
  if (!made) {
    FUZZ_CHECK(made.error() == Errno::kENOMEM);
    return;
  }
  check_table();
  std::vector<PhysAddr> frames;
  for (int i = 0; i < 64; ++i) {
    const PhysAddr frame = frame_alloc();
    if (frame.is_null()) {
      break;
    }
    FUZZ_CHECK(frame.value() >= kMiB && frame.value() < kSpan);
    FUZZ_CHECK(!is_kept_back(map, frame.value()));
    for (const BootRange& range : in_use) {
      FUZZ_CHECK(range.size_bytes == 0 || frame.value() + kPageSize <= range.start ||
                 frame.value() >= range.start + range.size_bytes);
    }
    frames.push_back(frame);
  }
  for (const PhysAddr frame : frames) {
    frame_free(frame);
  }
  validate_frames();
}

void loader_map(Input& input) {
  loader::FakeFirmware firmware(2 * kMiB);
  firmware.stride_bytes = 40 + input.below(6) * 8;
  const auto status = input.byte();
  const auto size = input.take<std::uint64_t>();
  const auto stride = input.take<std::uint64_t>();
  const std::uint8_t lies = input.byte();
  while (!input.empty() && firmware.more_memory.size() < 40) {
    firmware.more_memory.push_back(choose_descriptor(input));
  }
  loader::MemoryMapBuffer buffer;
  if (!buffer.allocate(firmware)) {
    return;
  }
  firmware.tamper_map = [&](loader::Status given, loader::RawMemoryMap& map) {
    if ((lies & 1) != 0) {
      map.stride_bytes = stride;
    }
    if ((lies & 2) != 0) {
      map.size_bytes = (lies & 4) != 0 ? map.size_bytes - size % 200 : size;
    }
    return (lies & 8) != 0 ? static_cast<loader::Status>(status) : given;
  };
  const auto map = buffer.read(firmware);
  if (!map) {
    return;
  }
  const std::uint64_t count = buffer.normalise(*map);
  FUZZ_CHECK(count * sizeof(BootMemoryDescriptor) <= buffer.descriptors_bytes());
  const std::uint64_t limit = loader::physical_limit(firmware.cpu);
  const loader::FreeMemory free = loader::survey_free_memory(*map, limit);
  FUZZ_CHECK(free.largest_bytes <= free.total_bytes);
  loader::for_each_descriptor(*map, [&](const BootMemoryDescriptor& descriptor) {
    const BootRange range = loader::sane_range(descriptor, limit);
    FUZZ_CHECK(range.size_bytes == 0 || (range.start % 4096 == 0 && range.start <= limit &&
                                         range.size_bytes <= limit - range.start));
  });
}

}  // namespace
}  // namespace holstein::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  holstein::fuzz::Input input(data, bytes);
  if ((input.byte() & 1) != 0) {
    holstein::fuzz::kernel(input);
  } else {
    holstein::fuzz::loader_map(input);
  }
  return 0;
}
