// A firmware in memory, with faults on demand, that complains when the loader breaks UEFI's rules:
// pages touched after they were freed, services used after ExitBootServices, files left open.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "efi_loader/firmware.h"

namespace holstein::loader {

inline constexpr uint64_t kMiB = 1ULL << 20;
inline constexpr uint64_t kGiB = 1ULL << 30;

struct FakeFile {
  std::vector<uint8_t> bytes;
  bool is_folder = false;
  Status open_status = kSuccess;
  Status seek_status = kSuccess;
  Status read_status = kSuccess;
  uint64_t claimed_bytes = UINT64_MAX;  // what the file info says; UINT64_MAX: the truth
  uint64_t most_per_read = UINT64_MAX;  // short reads
  uint64_t extra_per_read = 0;          // a firmware that claims to have read too much
};

class FakeFirmware final : public Firmware {
 public:
  // The machine's RAM that can be allocated: [kRamStart, kRamStart + ram_bytes).
  static constexpr uint64_t kRamStart = 0x10'0000;
  static constexpr uint64_t kTrampoline = 0x7'6543'2000;

  explicit FakeFirmware(uint64_t ram_bytes = 64 * kMiB);
  ~FakeFirmware();
  FakeFirmware(const FakeFirmware&) = delete;
  FakeFirmware& operator=(const FakeFirmware&) = delete;

  // What a test sets.
  std::map<std::string, FakeFile> files;
  std::vector<BootMemoryDescriptor> more_memory;  // in the map, besides the RAM above
  CpuFeatures cpu = {.no_execute = true,
                     .gigabyte_pages = true,
                     .five_level_paging_on = false,
                     .physical_address_bits = 40};
  uint64_t stride_bytes = 48;
  int fail_allocation = -1;  // the index of the allocation that fails
  int stale_keys = 0;        // how many exits find the map stale
  Status exit_status = kSuccess;
  uint64_t map_growth_bytes = 0;  // descriptors of nothing that appear after each exit call
  // Changes what get_memory_map returns: its status, the map's fields, its bytes.
  std::function<Status(Status, RawMemoryMap&)> tamper_map;
  std::vector<uint8_t> options;
  bool serial_console = false;
  bool has_firmware_random = true;
  bool has_cpu_random = true;
  uint64_t random_state = 1;

  // What a test looks at.
  int allocations_made = 0;
  int exit_calls = 0;
  int open_files = 0;
  std::string console;
  std::string serial;
  std::string debug;
  bool is_allocated(uint64_t physical, MemoryType type) const;
  uint64_t allocated_pages() const;
  uint64_t largest_read = 0;

  Status open_file(const char* path, OpenFile& file) override;
  Status read_file(const OpenFile& file, void* buffer, uint64_t& bytes) override;
  Status seek_file(const OpenFile& file, uint64_t offset) override;
  void close_file(const OpenFile& file) override;
  Status allocate_pages(MemoryType type, uint64_t page_count, uint64_t& physical) override;
  void free_pages(uint64_t physical, uint64_t page_count) override;
  uint8_t* memory_at(uint64_t physical) override;
  Status get_memory_map(void* buffer, uint64_t buffer_bytes, RawMemoryMap& map) override;
  Status exit_boot_services(uint64_t key) override;
  void write_console(const char* text) override;
  void write_serial(const char* text) override { serial += text; }
  void write_debug_port(const char* text) override { debug += text; }
  bool console_reaches_serial() override { return serial_console; }
  bool random_from_firmware(uint8_t* bytes, size_t count) override;
  bool random_from_cpu(uint64_t& word) override;
  uint64_t time_stamp() override { return tsc_ += 1000; }
  CpuFeatures cpu_features() override { return cpu; }
  const uint8_t* load_options(uint64_t& size_bytes) override;
  uint64_t acpi_rsdp() override { return 0xf77d014; }
  uint64_t system_table() override { return 0xf9ee018; }
  BootFramebuffer framebuffer() override;
  uint64_t trampoline_page() override { return kTrampoline; }

 private:
  // The memory map as it stands.
  std::vector<BootMemoryDescriptor> current_map() const;
  uint64_t next_random();
  void expect_boot_services(const char* service) const;

  const uint64_t ram_pages_;
  uint8_t* arena_;
  std::vector<MemoryType> page_types_;  // kConventional: free
  uint64_t key_ = 77;                   // changes with the map
  uint64_t grown_bytes_ = 0;
  uint64_t tsc_ = 0;
  uint64_t position_ = 0;  // of the one open file
};

}  // namespace holstein::loader
