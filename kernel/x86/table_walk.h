// Reading the live page tables without locks and without trust: for reports and audits.
#pragma once

#include <optional>

#include "lib/address.h"
#include "vm/page_table.h"

namespace holstein::x86 {

struct Leaf {
  Entry entry;
  unsigned level;  // 1: 4 KiB, 2: 2 MiB, 3: 1 GiB
};

// The leaf that maps `address` in the tables that CR3 points at; nothing where none does or a table
// lies outside the direct map. Safe in every state of the machine.
std::optional<Leaf> walk_tables(VirtAddr address);

// Reads 8 bytes of kernel memory if all of them are mapped.
bool read_kernel_word(std::uint64_t address, std::uint64_t& value);

}  // namespace holstein::x86
