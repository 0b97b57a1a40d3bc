// The loader's port to the machine, over UEFI's services.
#pragma once

#include "efi_loader/allocation_list.h"
#include "efi_loader/firmware.h"
#include "efi_loader/result.h"
#include "efi_loader/uefi/efi.h"

namespace holstein::loader {

class UefiFirmware final : public Firmware {
 public:
  UefiFirmware(EFI_HANDLE image, EFI_SYSTEM_TABLE* system_table)
      : image_(image), system_(system_table), boot_(system_table->BootServices) {}

  // Opens the volume that the loader was started from. Must succeed before any file is opened.
  Result<> open_volume();

  // After a failure: gives back all memory, closes the volume, ends the machine where it is a QEMU
  // that was told to, and else returns `status`, for the firmware to go on with its next boot
  // option. Where boot services are half gone there is no firmware to go on: the machine is
  // switched off.
  EFI_STATUS stop(Status status);

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
  void write_serial(const char* text) override;
  void write_debug_port(const char* text) override;
  bool console_reaches_serial() override;
  bool random_from_firmware(uint8_t* bytes, size_t count) override;
  bool random_from_cpu(uint64_t& word) override;
  uint64_t time_stamp() override;
  CpuFeatures cpu_features() override;
  const uint8_t* load_options(uint64_t& size_bytes) override;
  uint64_t acpi_rsdp() override;
  uint64_t system_table() override;
  BootFramebuffer framebuffer() override;
  uint64_t trampoline_page() override;

 private:
  EFI_HANDLE image_;
  EFI_SYSTEM_TABLE* const system_;
  EFI_BOOT_SERVICES* const boot_;
  EFI_LOADED_IMAGE* loaded_image_ = nullptr;
  EFI_FILE* volume_ = nullptr;  // the root folder
  AllocationList allocations_;
  bool exit_was_called_ = false;  // boot services and the console may not be used any more
};

}  // namespace holstein::loader
