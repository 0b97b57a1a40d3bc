// The page tables of a process as text, for people: /proc/<pid>/pagetables.
#pragma once

#include "lib/result.h"
#include "lib/vec.h"

namespace holstein {

class AddressSpace;

// Appends one line for each table (level, range, rights, how many share it, what its subtree maps)
// and one for each run of neighbouring pages that are alike. ENOMEM: `text` holds part of it.
[[nodiscard]] Result<void> dump_page_tables(const AddressSpace& space, String& text);

}  // namespace holstein
