// The kernel's relocations: see relocate.h.
#include "efi_loader/relocate.h"

#include "efi_loader/bytes.h"

namespace holstein::loader {
namespace {

template <class... Parts>
std::unexpected<Failure> broken(const Parts&... parts) {
  return fail(kLoadError, "kernel.elf: ", parts...);
}

// A relocation table as the dynamic segment names it; absent while `bytes` is 0.
struct Table {
  uint64_t address;
  uint64_t bytes;
  uint64_t entry_bytes;
};

struct Tables {
  Table rela;
  Table relr;
};

class Relocator {
 public:
  Relocator(const KernelPlan& plan, uint8_t* image, uint64_t slide)
      : plan_(plan), image_(image), slide_(slide) {}

  Result<uint64_t> run() {
    TRY_ASSIGN(const Tables tables, read_dynamic());
    TRY(check_table(tables.rela, "RELA", sizeof(ElfRela)));
    TRY(check_table(tables.relr, "RELR", sizeof(uint64_t)));
    TRY(apply_rela(tables.rela));
    TRY(apply_relr(tables.relr));
    return applied_;
  }

 private:
  uint8_t* at(uint64_t address) { return image_ + (address - plan_.base); }

  Result<Tables> read_dynamic() {
    Tables tables = {};
    for (uint64_t offset = 0; plan_.dynamic_bytes - offset >= sizeof(ElfDynamic);
         offset += sizeof(ElfDynamic)) {
      const auto entry = load<ElfDynamic>(at(plan_.dynamic_start + offset));
      switch (entry.tag) {
        case kDynamicNull:
          return tables;
        case kDynamicRela:
          tables.rela.address = entry.value;
          break;
        case kDynamicRelaBytes:
          tables.rela.bytes = entry.value;
          break;
        case kDynamicRelaEntryBytes:
          tables.rela.entry_bytes = entry.value;
          break;
        case kDynamicRelr:
          tables.relr.address = entry.value;
          break;
        case kDynamicRelrBytes:
          tables.relr.bytes = entry.value;
          break;
        case kDynamicRelrEntryBytes:
          tables.relr.entry_bytes = entry.value;
          break;
        case kDynamicNeeded:
          return broken("needs a shared library; link it as a static PIE");
        case kDynamicTextRelocations:
          return broken("has relocations in its text; link it with -z text");
        case kDynamicRel:
        case kDynamicPltRelocations:
          return broken("has relocations that a static PIE does not need (dynamic tag ",
                        static_cast<uint64_t>(entry.tag), ")");
        default:
          break;
      }
    }
    return broken("the dynamic segment has no end");
  }

  Result<> check_table(const Table& table, const char* name, uint64_t entry_bytes) {
    if (table.bytes == 0) return {};
    if (table.entry_bytes != entry_bytes || table.bytes % entry_bytes != 0) {
      return broken("the ", name, " table has ", table.bytes, " bytes in entries of ",
                    table.entry_bytes, ", not of ", entry_bytes);
    }
    if (find_segment(plan_, table.address, table.bytes, false) == nullptr) {
      return broken("the ", name, " table ", Hex{table.address}, " + ", Hex{table.bytes},
                    " is not within a loaded segment");
    }
    return {};
  }

  Result<> check_target(uint64_t address) {
    const Segment* segment = find_segment(plan_, address, sizeof(uint64_t), true);
    if (segment == nullptr) {
      return broken("a relocation at ", Hex{address}, " is not within a segment");
    }
    if (!segment->writable) {
      return broken("a relocation at ", Hex{address}, " is in a read-only segment");
    }
    return {};
  }

  Result<> apply_rela(const Table& table) {
    for (uint64_t offset = 0; offset < table.bytes; offset += sizeof(ElfRela)) {
      const auto entry = load<ElfRela>(at(table.address + offset));
      if (entry.info != kRelocationRelative) {  // a relative one names no symbol either
        return broken("relocation ", offset / sizeof(ElfRela), " is of type ",
                      entry.info & 0xffffffff, " with symbol ", entry.info >> 32,
                      ", not R_X86_64_RELATIVE");
      }
      TRY(check_target(entry.offset));
      store(at(entry.offset), static_cast<uint64_t>(entry.addend) + slide_);
      ++applied_;
    }
    return {};
  }

  Result<> adjust_in_place(uint64_t address) {
    TRY(check_target(address));
    store(at(address), load<uint64_t>(at(address)) + slide_);
    ++applied_;
    return {};
  }

  // An even entry is an address to adjust; an odd one is a bitmap over the 63 words after the last.
  Result<> apply_relr(const Table& table) {
    uint64_t next = 0;
    bool have_address = false;
    for (uint64_t offset = 0; offset < table.bytes; offset += sizeof(uint64_t)) {
      const auto entry = load<uint64_t>(at(table.address + offset));
      if ((entry & 1) == 0) {
        TRY(adjust_in_place(entry));
        next = entry + sizeof(uint64_t);
        have_address = true;
        continue;
      }
      if (!have_address) return broken("the RELR table starts with a bitmap");
      for (unsigned bit = 1; bit < 64; ++bit) {
        if ((entry >> bit & 1) == 0) continue;
        TRY(adjust_in_place(next + (bit - 1) * sizeof(uint64_t)));
      }
      next += 63 * sizeof(uint64_t);
    }
    return {};
  }

  const KernelPlan& plan_;
  uint8_t* const image_;
  const uint64_t slide_;
  uint64_t applied_ = 0;
};

}  // namespace

Result<uint64_t> relocate_kernel(const KernelPlan& plan, uint8_t* image, uint64_t slide) {
  return Relocator(plan, image, slide).run();
}

}  // namespace holstein::loader
