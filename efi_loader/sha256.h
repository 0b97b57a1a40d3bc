// SHA-256 (FIPS 180-4), for mixing entropy: no secret of the kernel rests on one source alone.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace holstein::loader {

class Sha256 {
 public:
  static constexpr size_t kDigestBytes = 32;

  void update(const void* data, size_t bytes);
  // Writes the digest. The object must not be used afterwards.
  void finish(uint8_t digest[kDigestBytes]);

 private:
  void compress();

  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t block_[64] = {};
  size_t block_bytes_ = 0;  // below 64
  uint64_t total_bytes_ = 0;
};

}  // namespace holstein::loader
