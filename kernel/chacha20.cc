#include "kernel/chacha20.h"

#include <bit>
#include <cstddef>

namespace holstein {
namespace {

using State = std::array<std::uint32_t, 16>;

void quarter_round(State& s, unsigned a, unsigned b, unsigned c, unsigned d) {
  s[a] += s[b];
  s[d] = std::rotl(s[d] ^ s[a], 16);
  s[c] += s[d];
  s[b] = std::rotl(s[b] ^ s[c], 12);
  s[a] += s[b];
  s[d] = std::rotl(s[d] ^ s[a], 8);
  s[c] += s[d];
  s[b] = std::rotl(s[b] ^ s[c], 7);
}

}  // namespace

State chacha20_block(const std::array<std::uint32_t, 8>& key, std::uint32_t counter,
                     const std::array<std::uint32_t, 3>& nonce) {
  const State initial = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, key[0], key[1],
                         key[2],     key[3],     key[4],     key[5],     key[6], key[7],
                         counter,    nonce[0],   nonce[1],   nonce[2]};
  State state = initial;
  for (int i = 0; i < 10; ++i) {
    quarter_round(state, 0, 4, 8, 12);
    quarter_round(state, 1, 5, 9, 13);
    quarter_round(state, 2, 6, 10, 14);
    quarter_round(state, 3, 7, 11, 15);
    quarter_round(state, 0, 5, 10, 15);
    quarter_round(state, 1, 6, 11, 12);
    quarter_round(state, 2, 7, 8, 13);
    quarter_round(state, 3, 4, 9, 14);
  }
  for (std::size_t i = 0; i < state.size(); ++i) {
    state[i] += initial[i];
  }
  return state;
}

}  // namespace holstein
