// Randomness for the slides and the kernel's seed: every source there is, hashed together.
#pragma once

#include "efi_loader/firmware.h"
#include "efi_loader/sha256.h"

namespace holstein::loader {

// A deterministic stream from one pool. The pool's strength is that of the best source; the time
// stamp counter alone makes the slides differ from boot to boot, but does not keep them secret.
class Random {
 public:
  // Gathers from EFI_RNG_PROTOCOL, RDSEED or RDRAND, and the time stamp counter.
  explicit Random(Firmware& firmware);

  void fill(uint8_t* bytes, size_t count);
  // A number in [0, limit), each equally likely. `limit` is not 0.
  uint64_t below(uint64_t limit);

 private:
  uint8_t pool_[Sha256::kDigestBytes];
  uint64_t counter_ = 0;  // blocks given out
};

}  // namespace holstein::loader
