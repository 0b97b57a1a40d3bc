// vm/port.h on the real memory management unit.
#include "kernel/x86/instructions.h"
#include "vm/page_table.h"
#include "vm/port.h"

namespace holstein::port {

namespace {
constexpr std::uint64_t kCr4GlobalPages = 1 << 7;
}

void load_root(PhysAddr root) { x86::write_cr3(root.value()); }

PhysAddr current_root() { return PhysAddr(x86::read_cr3() & kEntryAddressMask); }

void invalidate_page(VirtAddr page) {
  asm volatile("invlpg (%0)" : : "r"(page.value()) : "memory");
}

// Changing CR4.PGE empties everything (Intel SDM volume 3, 4.10.4.1).
void invalidate_everything() {
  const std::uint64_t state = x86::read_flags();
  x86::cli();
  const std::uint64_t cr4 = x86::read_cr4();
  if ((cr4 & kCr4GlobalPages) != 0) {
    x86::write_cr4(cr4 & ~kCr4GlobalPages);
    x86::write_cr4(cr4);
  } else {
    x86::write_cr3(x86::read_cr3());
  }
  if ((state & 0x200) != 0) {
    x86::sti();
  }
}

}  // namespace holstein::port
