// The trivial model that address spaces are tested against: for every process, a map from page to
// rights and to one byte. It copies everything at fork, shares nothing but shared objects, and
// knows nothing of tables, frames or flags.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace holstein::testing {

inline constexpr std::uint64_t kModelPage = 4096;

// A file or a piece of shared anonymous memory: one byte a page.
struct ModelObject {
  std::vector<std::uint8_t> pages;
};

struct ModelPage {
  unsigned protection = 0;  // PROT_* bits
  bool is_shared = false;
  bool dont_fork = false;
  bool wipe_on_fork = false;
  // Where the contents come from, until a private write takes them over.
  std::shared_ptr<ModelObject> object;
  std::uint64_t object_page = 0;
  bool has_own_contents = false;
  std::uint8_t own_contents = 0;
};

class ModelProcess {
 public:
  std::map<std::uint64_t, ModelPage> pages;  // by address

  bool is_mapped(std::uint64_t address) const { return pages.contains(address); }

  std::uint8_t read(std::uint64_t address) const {
    const ModelPage& page = pages.at(address);
    if (page.has_own_contents) {
      return page.own_contents;
    }
    return page.object ? page.object->pages.at(page.object_page) : 0;
  }

  void write(std::uint64_t address, std::uint8_t value) {
    ModelPage& page = pages.at(address);
    if (page.is_shared) {
      page.object->pages.at(page.object_page) = value;
    } else {
      page.has_own_contents = true;
      page.own_contents = value;
    }
  }

  // A page beyond the end of its object gives SIGBUS.
  bool is_beyond_object(std::uint64_t address) const {
    const ModelPage& page = pages.at(address);
    return page.object && !page.has_own_contents && page.object_page >= page.object->pages.size();
  }

  void discard(std::uint64_t address) { pages.at(address).has_own_contents = false; }

  ModelProcess fork() const {
    ModelProcess child;
    for (const auto& [address, page] : pages) {
      if (page.dont_fork) {
        continue;
      }
      ModelPage& copy = child.pages[address] = page;
      if (page.wipe_on_fork) {
        copy.has_own_contents = false;
      }
    }
    return child;
  }
};

}  // namespace holstein::testing
