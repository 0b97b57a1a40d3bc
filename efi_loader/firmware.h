// What the loader asks of the machine: the port between its logic and UEFI.
//
// Implemented by uefi/firmware.cc over boot services, and by the host tests over an arena with
// faults on demand. The logic touches nothing of the machine but through this class.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "efi_loader/status.h"
#include "lib/boot_protocol.h"

namespace holstein::loader {

// EFI_MEMORY_TYPE (UEFI 2.10, 7.2.1), the ones with a meaning here.
enum class MemoryType : uint32_t {
  kLoaderCode = 1,
  kLoaderData = 2,
  kBootServicesCode = 3,
  kBootServicesData = 4,
  kRuntimeServicesCode = 5,
  kRuntimeServicesData = 6,
  kConventional = 7,
  kAcpiReclaim = 9,
  kAcpiNvs = 10,
};

struct OpenFile {
  void* handle;  // the firmware's
  uint64_t size_bytes;
  bool is_folder;
};

// A memory map as the firmware wrote it, descriptors `stride_bytes` apart.
struct RawMemoryMap {
  const uint8_t* bytes;
  uint64_t size_bytes;
  uint64_t stride_bytes;
  uint64_t key;
};

struct CpuFeatures {
  bool no_execute;
  bool gigabyte_pages;
  bool five_level_paging_on;
  uint32_t physical_address_bits;
};

class Firmware {
 public:
  // Files of the volume that the loader was started from; `path` is ASCII with backslashes.
  // On success the file is open and must be closed. Only kNotFound is told apart by callers.
  virtual Status open_file(const char* path, OpenFile& file) = 0;
  // Reads at most `bytes` from the current position, which starts at 0, and moves it. `bytes`
  // becomes what was read; fewer than asked for is allowed, 0 is the end of the file.
  virtual Status read_file(const OpenFile& file, void* buffer, uint64_t& bytes) = 0;
  virtual Status seek_file(const OpenFile& file, uint64_t offset) = 0;
  virtual void close_file(const OpenFile& file) = 0;

  // 4 KiB pages anywhere, their contents unspecified. Not after exit_boot_services was called.
  virtual Status allocate_pages(MemoryType type, uint64_t page_count, uint64_t& physical) = 0;
  virtual void free_pages(uint64_t physical, uint64_t page_count) = 0;
  // Where memory that was allocated here can be touched now; valid to the end of its allocation.
  virtual uint8_t* memory_at(uint64_t physical) = 0;

  // Writes the current map into `buffer`. kBufferTooSmall: map.size_bytes is what it takes.
  virtual Status get_memory_map(void* buffer, uint64_t buffer_bytes, RawMemoryMap& map) = 0;
  // kInvalidParameter: `key` is not the current map's. Once this was called, whatever it returned,
  // only get_memory_map and this function, and the outputs below, may be called.
  virtual Status exit_boot_services(uint64_t key) = 0;

  // Exactly this text, with its own line ends. The console is silent once exit_boot_services was
  // called; the first serial port and the debug port (0xe9) are driven directly and always work
  // where they exist.
  virtual void write_console(const char* text) = 0;
  virtual void write_serial(const char* text) = 0;
  virtual void write_debug_port(const char* text) = 0;
  // Whether the console's output appears on the first serial port anyway.
  virtual bool console_reaches_serial() = 0;

  // Fills `bytes` from EFI_RNG_PROTOCOL; false where that is absent or fails.
  virtual bool random_from_firmware(uint8_t* bytes, size_t count) = 0;
  // One word from RDSEED or RDRAND; false where the CPU has neither or they give nothing.
  virtual bool random_from_cpu(uint64_t& word) = 0;
  virtual uint64_t time_stamp() = 0;

  virtual CpuFeatures cpu_features() = 0;
  // The UTF-16 LoadOptions of the image; null and 0 where there are none.
  virtual const uint8_t* load_options(uint64_t& size_bytes) = 0;
  virtual uint64_t acpi_rsdp() = 0;
  virtual uint64_t system_table() = 0;
  virtual BootFramebuffer framebuffer() = 0;
  // The page of the loader's image that switches tables and jumps; mapped where it lies.
  virtual uint64_t trampoline_page() = 0;

 protected:
  ~Firmware() = default;
};

}  // namespace holstein::loader
