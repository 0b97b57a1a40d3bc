// Where the firmware starts the loader.
#include "efi_loader/loader.h"
#include "efi_loader/uefi/cpu.h"
#include "efi_loader/uefi/firmware.h"
#include "efi_loader/uefi/trampoline.h"

namespace holstein::loader {
namespace {

Result<Handoff> run(UefiFirmware& firmware, uint64_t tsc_at_start) {
  TRY(firmware.open_volume());
  return prepare_kernel(firmware, tsc_at_start);
}

}  // namespace

extern "C" EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE* system_table) {
  const uint64_t tsc_at_start = read_time_stamp();
  // The firmware gives a boot option five minutes; a large initramfs on a slow disk may take
  // longer.
  system_table->BootServices->SetWatchdogTimer(0, 0, 0, nullptr);
  UefiFirmware firmware(image, system_table);
  const Result<Handoff> handoff = run(firmware, tsc_at_start);
  if (!handoff.has_value()) {
    report(firmware, handoff.error());
    return firmware.stop(handoff.error().status);
  }
  holstein_trampoline(handoff->page_table_root, handoff->entry_virtual, handoff->boot_info_virtual,
                      handoff->stack_top_virtual);
}

}  // namespace holstein::loader
