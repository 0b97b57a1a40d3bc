// The host's lib/random.h: repeatable, the same bytes in every run.
#include "lib/random.h"

#include <mutex>
#include <random>

namespace holstein {
namespace {

std::mutex generator_mutex;
std::mt19937_64 generator(0x401575e1);

}  // namespace

std::uint64_t random_u64() {
  const std::lock_guard guard(generator_mutex);
  return generator();
}

std::uint64_t random_below(std::uint64_t limit) {
  const std::lock_guard guard(generator_mutex);
  return std::uniform_int_distribution<std::uint64_t>(0, limit - 1)(generator);
}

void random_bytes(std::span<std::byte> to) {
  for (std::byte& byte : to) {
    byte = static_cast<std::byte>(random_u64());
  }
}

void random_add_entropy(std::span<const std::byte> bytes) {
  const std::lock_guard guard(generator_mutex);
  for (const std::byte byte : bytes) {
    generator.seed(generator() ^ static_cast<std::uint64_t>(byte));
  }
}

}  // namespace holstein
