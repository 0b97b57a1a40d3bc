// Randomness: see random.h.
#include "efi_loader/random.h"

namespace holstein::loader {

Random::Random(Firmware& firmware) {
  Sha256 hash;
  uint64_t time = firmware.time_stamp();
  hash.update(&time, sizeof(time));
  uint8_t seed[48];
  if (firmware.random_from_firmware(seed, sizeof(seed))) hash.update(seed, sizeof(seed));
  for (int i = 0; i < 8; ++i) {
    uint64_t word = 0;
    if (firmware.random_from_cpu(word)) hash.update(&word, sizeof(word));
    time = firmware.time_stamp();
    hash.update(&time, sizeof(time));
  }
  hash.finish(pool_);
}

void Random::fill(uint8_t* bytes, size_t count) {
  while (count > 0) {
    Sha256 hash;
    hash.update(pool_, sizeof(pool_));
    hash.update(&counter_, sizeof(counter_));
    ++counter_;
    uint8_t digest[Sha256::kDigestBytes];
    hash.finish(digest);
    const size_t part = count < sizeof(digest) ? count : sizeof(digest);
    __builtin_memcpy(bytes, digest, part);
    bytes += part;
    count -= part;
  }
}

uint64_t Random::below(uint64_t limit) {
  // Values from the last, incomplete run of `limit` would make small results likelier: draw again.
  const uint64_t usable = UINT64_MAX - UINT64_MAX % limit;
  uint64_t value = 0;
  do {
    fill(reinterpret_cast<uint8_t*>(&value), sizeof(value));
  } while (value >= usable);
  return value % limit;
}

}  // namespace holstein::loader
