// Pages of this program that stand for user memory, and a model of what an access to them must do.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fuzz/input.h"
#include "lib/address.h"

namespace holstein::fuzz {

inline constexpr std::size_t kUserPages = 4;
inline constexpr std::size_t kUserBytes = kUserPages * kPageSize;

// kUserPages pages between pages that are not there.
class UserMemory {
 public:
  UserMemory() {
    void* const whole =
        mmap(nullptr, (kUserPages + 2) * kPageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FUZZ_CHECK(whole != MAP_FAILED);
    begin_ = static_cast<std::uint8_t*>(whole) + kPageSize;
  }
  UserMemory(const UserMemory&) = delete;
  UserMemory& operator=(const UserMemory&) = delete;

  // Fills all pages with bytes that are not 0 and differ from their neighbours, but for a NUL in
  // every `nul_every` bytes, and gives each page its rights from two bits of `rights`.
  void reset(std::uint8_t rights, std::size_t nul_every) {
    mprotect(begin_, kUserBytes, PROT_READ | PROT_WRITE);
    for (std::size_t i = 0; i < kUserBytes; ++i) {
      const bool is_nul = nul_every != 0 && i % nul_every == nul_every - 1;
      model_[i] = is_nul ? 0 : static_cast<std::uint8_t>(1 + (i * 7 + i / 251) % 250);
    }
    std::memcpy(begin_, model_, kUserBytes);
    protect(rights);
  }
  void protect(std::uint8_t rights) {
    for (std::size_t page = 0; page < kUserPages; ++page) {
      constexpr int kRights[4] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ,
                                  PROT_NONE};
      rights_[page] = kRights[rights >> (2 * page) & 3];
      mprotect(begin_ + page * kPageSize, kPageSize, rights_[page]);
    }
  }

  std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(begin_); }
  std::uint8_t* model() { return model_; }

  // Is the byte there, to be read or written?
  bool allows(std::uint64_t at, int right) const {
    return at >= address() && at < address() + kUserBytes &&
           (rights_[(at - address()) / kPageSize] & right) != 0;
  }
  // How many bytes from `at` on may be accessed, of `bytes`.
  std::size_t accessible(std::uint64_t at, std::uint64_t bytes, int right) const {
    std::size_t count = 0;
    while (count < bytes && allows(at + count, right)) {
      ++count;
    }
    return count;
  }
  std::uint8_t& model_at(std::uint64_t at) { return model_[at - address()]; }

  // Is user memory what the model says?
  bool agrees() {
    mprotect(begin_, kUserBytes, PROT_READ | PROT_WRITE);
    return std::memcmp(begin_, model_, kUserBytes) == 0;
  }

  // An address that a hostile program might name: in these pages mostly, and at the edges of what
  // there is.
  std::uint64_t choose_address(Input& input) const {
    const std::uint8_t choice = input.byte();
    if (choice < 200) {
      return address() + input.below(kUserBytes + 64) - 32;
    }
    if (choice < 220) {  // around the ends of pages
      return address() + input.below(kUserPages + 1) * kPageSize + input.below(32) - 16;
    }
    constexpr std::uint64_t kEdges[] = {0,
                                        1,
                                        kUserLimit,
                                        0x800000000000,
                                        0x8000000000000000,
                                        0xffff800000000000,
                                        0xffffffff80000000,
                                        ~std::uint64_t{0}};
    return kEdges[input.below(std::size(kEdges))] + input.below(16) - 8;
  }
  // A length: mostly one that fits, sometimes one that wraps.
  static std::uint64_t choose_length(Input& input, std::size_t most) {
    const std::uint8_t choice = input.byte();
    if (choice < 100) {
      return input.below(80);
    }
    if (choice < 220) {
      return input.below(most + 1);
    }
    constexpr std::uint64_t kLengths[] = {0, ~std::uint64_t{0}, std::uint64_t{1} << 63, kUserLimit,
                                          std::uint64_t{1} << 32};
    return kLengths[input.below(std::size(kLengths))] + input.below(16) - 8;
  }

 private:
  std::uint8_t* begin_;
  std::uint8_t model_[kUserBytes];
  int rights_[kUserPages] = {};
};

}  // namespace holstein::fuzz
