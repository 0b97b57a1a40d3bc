// Reads page tables as the manual says (Intel SDM volume 3, 4.5), sharing no code with the loader.
#pragma once

#include <map>
#include <optional>

#include "tests/host/loader/fake_firmware.h"

namespace holstein::loader {

struct Leaf {
  uint64_t physical;
  uint64_t bytes;  // the page's size
  bool writable;
  bool executable;
  bool user;
  bool global;
  bool operator==(const Leaf&) const = default;
};

// Every leaf under `root`, by virtual address. Reports reserved bits and tables outside of
// loader data as test failures.
std::map<uint64_t, Leaf> all_leaves(FakeFirmware& firmware, uint64_t root);

// The translation of one address: where its byte lies, and the page it is in.
struct Translation {
  uint64_t physical;
  Leaf leaf;
};
std::optional<Translation> translate(const std::map<uint64_t, Leaf>& leaves, uint64_t address);

}  // namespace holstein::loader
