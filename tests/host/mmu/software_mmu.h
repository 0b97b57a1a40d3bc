// A memory management unit in software, written from the manual (Intel SDM volume 3, chapter 4) and
// sharing no code with vm/: it reads the tables as bytes of an arena. It keeps stale translations
// for as long as real hardware may, that is until it is told to drop them, so that a forgotten
// flush makes a test fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>

namespace holstein::testing {

enum class MmuAccess : std::uint8_t { kRead, kWrite, kExecute };

// The page-fault error code (SDM volume 3, 4.7).
inline constexpr std::uint32_t kFaultPresent = 1;
inline constexpr std::uint32_t kFaultWrite = 2;
inline constexpr std::uint32_t kFaultUser = 4;
inline constexpr std::uint32_t kFaultReserved = 8;
inline constexpr std::uint32_t kFaultInstruction = 16;

class SoftwareMmu {
 public:
  // `memory` holds physical addresses 0 to `bytes`.
  SoftwareMmu(std::byte* memory, std::uint64_t bytes) : memory_(memory), bytes_(bytes) {}

  // MOV to CR3: drops every non-global translation and all paging-structure caches.
  void load_root(std::uint64_t root);
  std::uint64_t root() const { return root_; }
  // INVLPG: the page's translation, of a large page in all the parts that it was cached in, and all
  // paging-structure caches (SDM volume 3, 4.10.2.3 and 4.10.4.1).
  void invalidate_page(std::uint64_t address);
  void invalidate_everything();

  struct Translation {
    std::uint64_t physical;              // of the byte, where `fault` is empty
    std::optional<std::uint32_t> fault;  // error code
  };
  // A user-mode access (CPL 3), with CR0.WP and EFER.NXE set. Sets accessed and dirty bits.
  Translation translate(std::uint64_t address, MmuAccess access);

  std::uint64_t walks() const { return walks_; }

 private:
  struct Rights {
    bool writable = true;
    bool user = true;
    bool no_execute = false;
  };
  struct TlbEntry {
    std::uint64_t frame;
    Rights rights;
    bool dirty;
    bool is_part_of_large;  // large pages are cached in parts of 4 KiB
  };
  struct CachedTable {
    std::uint64_t table;
    Rights rights;
  };

  std::uint64_t read_entry(std::uint64_t at) const;
  void set_bits(std::uint64_t at, std::uint64_t bits);
  static bool permits(const Rights& rights, MmuAccess access);
  static std::uint32_t error_code(bool present, MmuAccess access);

  std::byte* memory_;
  std::uint64_t bytes_;
  std::uint64_t root_ = 0;
  std::uint64_t walks_ = 0;
  std::map<std::uint64_t, TlbEntry> tlb_;  // by page number
  // By level of the table that is found without reading the levels above, then by the address bits
  // that lead to it: PDE cache (1), PDPTE cache (2), PML4E cache (3).
  std::map<std::uint64_t, CachedTable> caches_[4];
};

}  // namespace holstein::testing
