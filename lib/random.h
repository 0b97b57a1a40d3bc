// The kernel's source of random bytes: /dev/urandom, getrandom, AT_RANDOM, address layout.
// Implemented in kernel/random.cc and in tests/host/fake.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace holstein {

// Fills `to` with cryptographically strong bytes. Callable in every context.
void random_bytes(std::span<std::byte> to);
std::uint64_t random_u64();
// A value in [0, limit), without bias; `limit` is not 0.
std::uint64_t random_below(std::uint64_t limit);
// Mixes `bytes` into the state (writes to /dev/urandom). Never makes it weaker.
void random_add_entropy(std::span<const std::byte> bytes);

}  // namespace holstein
