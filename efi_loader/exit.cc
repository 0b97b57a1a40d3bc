// Leaving boot services: see exit.h.
#include "efi_loader/exit.h"

namespace holstein::loader {

Result<RawMemoryMap> exit_boot_services(Firmware& firmware, MemoryMapBuffer& buffer) {
  for (int i = 0; i < kMaxExitTries; ++i) {
    TRY_ASSIGN(const RawMemoryMap map, buffer.read(firmware));
    const Status status = firmware.exit_boot_services(map.key);
    if (status == kSuccess) return map;
    if (status != kInvalidParameter) {
      return fail(status, "the firmware does not let go: ExitBootServices gave EFI status ",
                  Hex{status});
    }
  }
  return fail(kInvalidParameter, "the firmware does not let go: the memory map was stale ",
              uint64_t{kMaxExitTries}, " times");
}

}  // namespace holstein::loader
