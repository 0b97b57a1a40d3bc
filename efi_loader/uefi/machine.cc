// What UEFI and the CPU tell about the machine, and the outputs: the rest of firmware.h.
#include "efi_loader/bytes.h"
#include "efi_loader/device_path.h"
#include "efi_loader/uefi/cpu.h"
#include "efi_loader/uefi/firmware.h"
#include "efi_loader/uefi/ports.h"
#include "efi_loader/uefi/trampoline.h"

namespace holstein::loader {
namespace {

bool operator==(const EFI_GUID& a, const EFI_GUID& b) {
  return __builtin_memcmp(&a, &b, sizeof(EFI_GUID)) == 0;
}

}  // namespace

void UefiFirmware::write_console(const char* text) {
  if (exit_was_called_ || system_->ConOut == nullptr) return;
  CHAR16 wide[Line::kCapacity];
  size_t length = 0;
  for (; text[length] != '\0' && length + 1 < Line::kCapacity; ++length) {
    wide[length] = static_cast<uint8_t>(text[length]);
  }
  wide[length] = 0;
  system_->ConOut->OutputString(system_->ConOut, wide);
}

void UefiFirmware::write_serial(const char* text) { holstein::loader::write_serial(text); }

void UefiFirmware::write_debug_port(const char* text) { holstein::loader::write_debug_port(text); }

bool UefiFirmware::console_reaches_serial() {
  if (exit_was_called_ || system_->ConOut == nullptr) return false;
  // The console is what the variable ConOut names (UEFI 2.10, 3.3).
  static CHAR16 name[] = {'C', 'o', 'n', 'O', 'u', 't', 0};
  EFI_GUID vendor = EFI_GLOBAL_VARIABLE;
  uint8_t path[1024];
  UINTN bytes = sizeof(path);
  if (system_->RuntimeServices->GetVariable(name, &vendor, nullptr, &bytes, path) != EFI_SUCCESS) {
    return false;
  }
  return names_first_serial_port(std::span(path).first(bytes));
}

bool UefiFirmware::random_from_firmware(uint8_t* bytes, size_t count) {
  EFI_GUID id = EFI_RNG_PROTOCOL_GUID;
  void* interface = nullptr;
  if (boot_->LocateProtocol(&id, nullptr, &interface) != EFI_SUCCESS) return false;
  auto* rng = static_cast<EFI_RNG_PROTOCOL*>(interface);
  return rng->GetRNG(rng, nullptr, count, bytes) == EFI_SUCCESS;
}

bool UefiFirmware::random_from_cpu(uint64_t& word) { return read_random(word); }

uint64_t UefiFirmware::time_stamp() { return read_time_stamp(); }

CpuFeatures UefiFirmware::cpu_features() { return read_cpu_features(); }

const uint8_t* UefiFirmware::load_options(uint64_t& size_bytes) {
  size_bytes = loaded_image_->LoadOptionsSize;
  return static_cast<const uint8_t*>(loaded_image_->LoadOptions);
}

uint64_t UefiFirmware::acpi_rsdp() {
  const EFI_GUID acpi_2 = ACPI_20_TABLE_GUID;
  const EFI_GUID acpi_1 = ACPI_TABLE_GUID;
  uint64_t result = 0;
  for (UINTN i = 0; i < system_->NumberOfTableEntries; ++i) {
    const EFI_CONFIGURATION_TABLE& table = system_->ConfigurationTable[i];
    const auto address = reinterpret_cast<uint64_t>(table.VendorTable);
    if (table.VendorGuid == acpi_2) return address;
    if (table.VendorGuid == acpi_1) result = address;
  }
  return result;
}

uint64_t UefiFirmware::system_table() { return reinterpret_cast<uint64_t>(system_); }

BootFramebuffer UefiFirmware::framebuffer() {
  EFI_GUID id = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
  void* interface = nullptr;
  // The screen that the console uses, else any.
  if (system_->ConsoleOutHandle == nullptr ||
      boot_->HandleProtocol(system_->ConsoleOutHandle, &id, &interface) != EFI_SUCCESS) {
    if (boot_->LocateProtocol(&id, nullptr, &interface) != EFI_SUCCESS) return {};
  }
  const auto* mode = static_cast<EFI_GRAPHICS_OUTPUT_PROTOCOL*>(interface)->Mode;
  if (mode == nullptr || mode->Info == nullptr || mode->Info->PixelFormat >= PixelBltOnly)
    return {};
  return {
      .base = mode->FrameBufferBase,
      .size_bytes = mode->FrameBufferSize,
      .width = mode->Info->HorizontalResolution,
      .height = mode->Info->VerticalResolution,
      .pixels_per_scan_line = mode->Info->PixelsPerScanLine,
      .pixel_format = static_cast<uint32_t>(mode->Info->PixelFormat),
  };
}

uint64_t UefiFirmware::trampoline_page() {
  return reinterpret_cast<uint64_t>(&holstein_trampoline);
}

}  // namespace holstein::loader
