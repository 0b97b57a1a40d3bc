// The last instructions of the loader.
#pragma once

#include <stdint.h>

namespace holstein::loader {

// Sets CR0.WP and EFER.NXE, loads the tables, and jumps; never returns. It lies alone in a page of
// the loader's image, which those tables must map where it lies. Microsoft x64 calling convention,
// as all of the loader.
extern "C" [[noreturn]] void holstein_trampoline(uint64_t page_table_root, uint64_t entry_virtual,
                                                 uint64_t boot_info_virtual,
                                                 uint64_t stack_top_virtual);

}  // namespace holstein::loader
