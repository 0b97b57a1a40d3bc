// Memory, files and the way out, over UEFI's boot services: see firmware.h. What only looks at the
// machine is in machine.cc.
#include "efi_loader/uefi/firmware.h"

#include "efi_loader/uefi/ports.h"

namespace holstein::loader {

static_assert(kSuccess == EFI_SUCCESS && kLoadError == EFI_LOAD_ERROR &&
              kInvalidParameter == EFI_INVALID_PARAMETER && kUnsupported == EFI_UNSUPPORTED &&
              kBufferTooSmall == EFI_BUFFER_TOO_SMALL && kDeviceError == EFI_DEVICE_ERROR &&
              kOutOfResources == EFI_OUT_OF_RESOURCES && kVolumeCorrupted == EFI_VOLUME_CORRUPTED &&
              kNotFound == EFI_NOT_FOUND);
static_assert(sizeof(CHAR16) == 2);

namespace {

constexpr uint8_t kDebugExitValue = 2;  // QEMU ends with status 5
constexpr size_t kMaxPathCharacters = 64;
// EFI_FILE_INFO ends with the file's name: room for the longest that FAT has (255 characters).
constexpr size_t kFileInfoBytes = sizeof(EFI_FILE_INFO) + 256 * sizeof(CHAR16);

EFI_FILE* handle_of(const OpenFile& file) { return static_cast<EFI_FILE*>(file.handle); }

}  // namespace

Result<> UefiFirmware::open_volume() {
  EFI_GUID loaded_image_id = LOADED_IMAGE_PROTOCOL;
  EFI_GUID file_system_id = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
  void* interface = nullptr;
  EFI_STATUS status = boot_->HandleProtocol(image_, &loaded_image_id, &interface);
  if (status != EFI_SUCCESS) {
    return fail(status, "the firmware does not say what was started (EFI status ", Hex{status},
                ")");
  }
  loaded_image_ = static_cast<EFI_LOADED_IMAGE*>(interface);
  status = boot_->HandleProtocol(loaded_image_->DeviceHandle, &file_system_id, &interface);
  if (status != EFI_SUCCESS) {
    return fail(status, "the device that it was started from has no file system (EFI status ",
                Hex{status}, ")");
  }
  auto* file_system = static_cast<EFI_FILE_IO_INTERFACE*>(interface);
  status = file_system->OpenVolume(file_system, &volume_);
  if (status != EFI_SUCCESS) {
    volume_ = nullptr;
    return fail(status, "the boot volume cannot be opened (EFI status ", Hex{status}, ")");
  }
  return {};
}

EFI_STATUS UefiFirmware::stop(Status status) {
  exit_qemu(kDebugExitValue);
  if (exit_was_called_) {
    system_->RuntimeServices->ResetSystem(EfiResetShutdown, EFI_SUCCESS, 0, nullptr);
    while (true) asm volatile("cli\n\thlt");
  }
  for (PageRun run; allocations_.take(run);) boot_->FreePages(run.physical, run.page_count);
  if (volume_ != nullptr) volume_->Close(volume_);
  return status;
}

Status UefiFirmware::open_file(const char* path, OpenFile& file) {
  file = {};
  CHAR16 wide[kMaxPathCharacters];
  size_t length = 0;
  for (; path[length] != '\0'; ++length) {
    if (length + 1 == kMaxPathCharacters) return kInvalidParameter;
    wide[length] = static_cast<uint8_t>(path[length]);
  }
  wide[length] = 0;
  EFI_FILE* opened = nullptr;
  EFI_STATUS status = volume_->Open(volume_, &opened, wide, EFI_FILE_MODE_READ, 0);
  if (status != EFI_SUCCESS) return status;
  alignas(EFI_FILE_INFO) uint8_t buffer[kFileInfoBytes];
  UINTN buffer_bytes = sizeof(buffer);
  EFI_GUID info_id = EFI_FILE_INFO_ID;
  status = opened->GetInfo(opened, &info_id, &buffer_bytes, buffer);
  if (status != EFI_SUCCESS) {
    opened->Close(opened);
    return status == EFI_NOT_FOUND ? kDeviceError : status;  // the file itself was found
  }
  const auto* info = reinterpret_cast<const EFI_FILE_INFO*>(buffer);
  file = {.handle = opened,
          .size_bytes = info->FileSize,
          .is_folder = (info->Attribute & EFI_FILE_DIRECTORY) != 0};
  return kSuccess;
}

Status UefiFirmware::read_file(const OpenFile& file, void* buffer, uint64_t& bytes) {
  UINTN count = bytes;
  const EFI_STATUS status = handle_of(file)->Read(handle_of(file), &count, buffer);
  bytes = count;
  return status;
}

Status UefiFirmware::seek_file(const OpenFile& file, uint64_t offset) {
  return handle_of(file)->SetPosition(handle_of(file), offset);
}

void UefiFirmware::close_file(const OpenFile& file) { handle_of(file)->Close(handle_of(file)); }

Status UefiFirmware::allocate_pages(MemoryType type, uint64_t page_count, uint64_t& physical) {
  EFI_PHYSICAL_ADDRESS address = 0;
  const EFI_STATUS status = boot_->AllocatePages(
      AllocateAnyPages, static_cast<EFI_MEMORY_TYPE>(type), page_count, &address);
  if (status != EFI_SUCCESS) return status;
  allocations_.add({.physical = address, .page_count = page_count});
  physical = address;
  return kSuccess;
}

void UefiFirmware::free_pages(uint64_t physical, uint64_t page_count) {
  allocations_.remove({.physical = physical, .page_count = page_count});
  boot_->FreePages(physical, page_count);
}

uint8_t* UefiFirmware::memory_at(uint64_t physical) {
  return reinterpret_cast<uint8_t*>(physical);  // boot services map memory one to one
}

Status UefiFirmware::get_memory_map(void* buffer, uint64_t buffer_bytes, RawMemoryMap& map) {
  UINTN size = buffer_bytes;
  UINTN key = 0;
  UINTN stride = 0;
  UINT32 version = 0;
  const EFI_STATUS status = boot_->GetMemoryMap(&size, static_cast<EFI_MEMORY_DESCRIPTOR*>(buffer),
                                                &key, &stride, &version);
  map = {.bytes = static_cast<const uint8_t*>(buffer),
         .size_bytes = size,
         .stride_bytes = stride,
         .key = key};
  return status;
}

Status UefiFirmware::exit_boot_services(uint64_t key) {
  exit_was_called_ = true;
  return boot_->ExitBootServices(image_, key);
}

}  // namespace holstein::loader
