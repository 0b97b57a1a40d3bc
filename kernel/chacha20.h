// The ChaCha20 block function (RFC 8439, 2.3).
#pragma once

#include <array>
#include <cstdint>

namespace holstein {

inline constexpr unsigned kChaChaBlockBytes = 64;

// One block of key stream for `key`, block counter and nonce.
std::array<std::uint32_t, 16> chacha20_block(const std::array<std::uint32_t, 8>& key,
                                             std::uint32_t counter,
                                             const std::array<std::uint32_t, 3>& nonce);

}  // namespace holstein
