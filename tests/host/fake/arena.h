// Physical memory for host tests: a piece of the test's own memory that stands for the machine's
// RAM, described by a made-up firmware map.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/boot_protocol.h"
#include "lib/panic.h"
#include "lib/result.h"
#include "vm/frame.h"

namespace holstein::fake {

// EFI_MEMORY_TYPE values for maps (UEFI 2.10, 7.2.1).
inline constexpr std::uint32_t kEfiReserved = 0;
inline constexpr std::uint32_t kEfiLoaderCode = 1;
inline constexpr std::uint32_t kEfiLoaderData = 2;
inline constexpr std::uint32_t kEfiBootServicesCode = 3;
inline constexpr std::uint32_t kEfiBootServicesData = 4;
inline constexpr std::uint32_t kEfiRuntimeServicesCode = 5;
inline constexpr std::uint32_t kEfiRuntimeServicesData = 6;
inline constexpr std::uint32_t kEfiConventional = 7;
inline constexpr std::uint32_t kEfiUnusable = 8;
inline constexpr std::uint32_t kEfiAcpiReclaim = 9;
inline constexpr std::uint32_t kEfiAcpiNvs = 10;
inline constexpr std::uint32_t kEfiMmio = 11;
inline constexpr std::uint32_t kEfiPersistent = 14;
inline constexpr std::uint64_t kEfiWriteBack = 0x8;
inline constexpr std::uint64_t kEfiRuntime = 1ULL << 63;

BootMemoryDescriptor describe(std::uint32_t type, std::uint64_t start, std::uint64_t bytes,
                              std::uint64_t attributes = kEfiWriteBack);

// Address space for physical addresses [0, bytes): backed on demand, so that far more can be
// spanned than is used. It holds zeros, or what the last machine of this size has left, as RAM does
// after a reset; the host is spared the faults. Sets direct_map_base while it lives. One at a time.
class PhysicalMemory {
 public:
  explicit PhysicalMemory(std::uint64_t bytes);
  ~PhysicalMemory();
  PhysicalMemory(const PhysicalMemory&) = delete;
  PhysicalMemory& operator=(const PhysicalMemory&) = delete;

  std::uint64_t size_bytes() const { return bytes_; }

 private:
  void* base_;
  std::uint64_t bytes_;
};

// Physical memory with its frames set up, as the kernel has it after boot. At the end all frames
// must be back and every invariant must hold: it panics, with the call sites of what is missing, if
// not.
class Arena {
 public:
  // A machine of `mebibytes` with an ordinary map: holes, boot services, ACPI tables.
  explicit Arena(std::uint64_t mebibytes = 64);
  // A machine with this map; frames_init() must accept it.
  Arena(std::uint64_t span_bytes, std::span<const BootMemoryDescriptor> map,
        std::span<const BootRange> in_use = {});
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Frames that were free at the start and are not now.
  std::uint64_t frames_out() const;
  // From here on the frames that are out count as the start.
  void accept_frames_out();
  // Takes frames until `left` are free; give_back() returns them (and so does the end).
  void take_all_but(std::uint64_t left);
  void give_back();

  static bool is_active();

 private:
  PhysicalMemory memory_;
  std::uint64_t free_at_start_ = 0;
  std::vector<PhysAddr> taken_;
};

// Runs `operation` with the 1st, 2nd, 3rd ... allocation in it failing, until it gets through
// without a failure. `operation` gets the number that fails. `persistent`: all later ones fail,
// too. Returns how many allocations it makes. Bounded by `limit`, which panics.
template <class Operation>
std::uint64_t fail_each_allocation(Operation operation, bool persistent = false,
                                   std::uint64_t limit = 100000) {
  for (std::uint64_t nth = 1; nth <= limit; ++nth) {
    const std::uint64_t before = allocation_count();
    allocation_fail_nth(nth, persistent);
    operation(nth);
    allocation_fail_nth(0, false);
    if (allocation_count() - before < nth) {
      return nth - 1;
    }
  }
  panic("fail_each_allocation: no end after %llu", static_cast<unsigned long long>(limit));
}

}  // namespace holstein::fake
