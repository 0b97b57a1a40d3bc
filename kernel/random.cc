// The kernel's random generator: ChaCha20 with fast key erasure. Each request takes a key of its
// own from the generator and replaces the generator's, so that nothing given out can be computed
// from what is found in memory later.
#include "kernel/random.h"

#include <algorithm>
#include <cstring>

#include "kernel/boot.h"
#include "kernel/chacha20.h"
#include "kernel/x86/features.h"
#include "kernel/x86/instructions.h"
#include "lib/log.h"
#include "lib/random.h"
#include "lib/spinlock.h"

namespace holstein {
namespace {

using Key = std::array<std::uint32_t, 8>;
constexpr std::array<std::uint32_t, 3> kOutputNonce = {0, 0, 0};
constexpr std::array<std::uint32_t, 3> kMixNonce = {1, 0, 0};

// Innermost but for the log: random bytes are wanted under every lock.
constinit SpinLock lock(LockRank::kDevice);
constinit Key generator_key GUARDED_BY(lock) = {};

void wipe(void* memory, std::size_t bytes) {
  std::memset(memory, 0, bytes);
  asm volatile("" : : "r"(memory) : "memory");
}

// Replaces the key by the first half of a block of its key stream and gives out the second.
Key split_key_locked(const std::array<std::uint32_t, 3>& nonce) REQUIRES(lock) {
  std::array<std::uint32_t, 16> block = chacha20_block(generator_key, 0, nonce);
  Key result;
  std::copy_n(block.begin(), 8, generator_key.begin());
  std::copy_n(block.begin() + 8, 8, result.begin());
  wipe(block.data(), sizeof(block));
  return result;
}

// Eight bytes of the CPU's generator where it has one, and of the time stamp counter always.
std::uint64_t hardware_word() {
  std::uint64_t word = 0;
  bool ok = false;
  for (int attempt = 0; attempt < 10 && x86::features.rdrand && !ok; ++attempt) {
    asm volatile("rdrand %0" : "=r"(word), "=@ccc"(ok));
  }
  return word ^ x86::read_tsc() * 0x9e3779b97f4a7c15;
}

void mix_locked(std::span<const std::byte> bytes) REQUIRES(lock) {
  while (!bytes.empty()) {
    const std::size_t count = std::min(bytes.size(), sizeof(Key));
    Key piece = {};
    std::memcpy(piece.data(), bytes.data(), count);
    bytes = bytes.subspan(count);
    for (std::size_t i = 0; i < piece.size(); ++i) {
      generator_key[i] ^= piece[i];
    }
    Key unused = split_key_locked(kMixNonce);
    wipe(unused.data(), sizeof(unused));
    wipe(piece.data(), sizeof(piece));
  }
}

}  // namespace

void random_init() {
  {
    SpinGuard guard(lock);
    mix_locked(std::as_bytes(std::span(boot_info().random_seed)));
    for (int i = 0; i < 8; ++i) {
      const std::uint64_t word = hardware_word();
      mix_locked(std::as_bytes(std::span(&word, 1)));
    }
  }
  boot_forget_seed();
  log(LogLevel::kInfo, "random: seeded by the loader%s", x86::features.rdrand ? " and RDRAND" : "");
}

void random_bytes(std::span<std::byte> to) {
  Key key;
  {
    SpinGuard guard(lock);
    key = split_key_locked(kOutputNonce);
  }
  std::array<std::uint32_t, 3> nonce = {2, 0, 0};
  std::uint32_t counter = 0;
  std::array<std::uint32_t, 16> block;
  while (!to.empty()) {
    block = chacha20_block(key, counter, nonce);
    const std::size_t count = std::min<std::size_t>(to.size(), kChaChaBlockBytes);
    std::memcpy(to.data(), block.data(), count);
    to = to.subspan(count);
    if (++counter == 0) {
      ++nonce[1];
    }
  }
  wipe(block.data(), sizeof(block));
  wipe(key.data(), sizeof(key));
}

std::uint64_t random_u64() {
  std::uint64_t value;
  random_bytes(std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

std::uint64_t random_below(std::uint64_t limit) {
  // Values below 2^64 mod limit would make small results likelier.
  const std::uint64_t skip = (0 - limit) % limit;
  while (true) {
    const std::uint64_t value = random_u64();
    if (value >= skip) {
      return value % limit;
    }
  }
}

void random_add_entropy(std::span<const std::byte> bytes) {
  SpinGuard guard(lock);
  mix_locked(bytes);
}

}  // namespace holstein
