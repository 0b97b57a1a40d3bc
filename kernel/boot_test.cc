#include "kernel/boot_test.h"

#include <cstring>
#include <iterator>

#include "kernel/boot.h"
#include "kernel/image.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/isolation.h"
#include "kernel/x86/kernel_tables.h"
#include "kernel/x86/table_walk.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "lib/spinlock.h"
#include "proc/port.h"
#include "uaccess/uaccess.h"
#include "vm/frame.h"
#include "vm/isolation.h"
#include "vm/kmalloc.h"
#include "vm/paging.h"
#include "vm/port.h"
#include "vm/table_share.h"

namespace holstein {
namespace {

// Hides a value from the compiler, which would otherwise see the mistakes below coming.
template <class T>
T opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

void write_byte(std::uint64_t address) { *opaque(reinterpret_cast<volatile char*>(address)) = 1; }

void null_dereference() { write_byte(8); }

[[clang::noinline]] unsigned recurse(unsigned depth) {
  volatile char frame[256];
  frame[depth & 255] = static_cast<char>(depth);
  if (depth == UINT32_MAX) {
    return 0;
  }
  return recurse(opaque(depth + 1)) + static_cast<unsigned>(frame[0]);
}
void stack_overflow() { recurse(0); }

void bad_free() { kfree(opaque(static_cast<char*>(kmalloc(64)) + 8)); }

void double_free() {
  void* block = kmalloc(64);
  kfree(opaque(block));
  kfree(opaque(block));
}

void takes_a_number(std::uint64_t) {}
void wrong_type_call() {
  using Other = int (*)(const char*, int);
  opaque(reinterpret_cast<Other>(reinterpret_cast<std::uint64_t>(&takes_a_number)))("", 1);
}

void write_to_code() { write_byte(address_of(__text_start)); }

void write_to_constants() { write_byte(address_of(__rodata_start)); }

// The same code by its other address.
void write_to_code_by_direct_map() {
  const auto leaf = x86::walk_tables(VirtAddr(address_of(__text_start)));
  HOLSTEIN_ASSERT(leaf.has_value());
  write_byte(reinterpret_cast<std::uint64_t>(phys_to_virt(leaf->entry.target())));
}

// Without the check that would catch the call before the processor does.
[[clang::no_sanitize("kcfi")]] void execute_data() {
  static char code[16] = {'\xc3'};
  opaque(reinterpret_cast<void (*)()>(code))();
}

constexpr std::uint64_t kUserPage = 0x400000;

// A page for user mode in a directory of its own.
void map_user_page() {
  const PhysAddr root = paging_create_directory();
  HOLSTEIN_ASSERT(!root.is_null());
  PhysAddr table = root;
  for (unsigned level = kRootLevel; level >= 1; --level) {
    const PhysAddr target = frame_alloc();
    HOLSTEIN_ASSERT(!target.is_null());
    clear_frame(target);
    write_entry(table_entries(table)[entry_index(VirtAddr(kUserPage), level)], level,
                Entry(target, PAGE_PRESENT | PAGE_WRITABLE | PAGE_USER));
    table = target;
  }
  phys_to_virt<std::uint8_t>(table)[0] = 0xc3;  // ret
  port::load_root(root);
}

void touch_user_memory() {
  map_user_page();
  write_byte(kUserPage);
}

[[clang::no_sanitize("kcfi")]] void execute_user_memory() {
  map_user_page();
  opaque(reinterpret_cast<void (*)()>(kUserPage))();
}

// Goes to user mode by the way that changes no roots, whatever the others do.
void enter_user_with_kernel_root() {
  map_user_page();
  x86_isolation_is_on = 0;
  UserRegisters registers{};
  registers.rip = kUserPage;
  registers.cs = kUserCodeSelector;
  registers.rflags = kFlagsFixed;
  registers.rsp = kUserPage + kPageSize;
  registers.ss = kUserDataSelector;
  port::enter_user(registers);
}

// What nobody should be able to do, for the audit of the live tables to find.
void map_writable_code() {
  constexpr std::uint64_t kBeyondWhatIsUsed = 1ULL << 30;
  const VirtAddr page(boot_info().heap_base_virtual + kBeyondWhatIsUsed);
  HOLSTEIN_ASSERT(paging_map_page(page, frame_alloc(), PAGE_WRITABLE) == 0);
  x86::kernel_tables_audit();
}

void assertion() { HOLSTEIN_ASSERT(opaque(1) == 2); }

void smash_stack() {
  char buffer[16];
  std::memset(opaque(&buffer[0]), 'A', 64);
  asm volatile("" : : "r"(&buffer[0]) : "memory");
}

void invalid_opcode() { asm volatile("ud2"); }

void divide_by_zero() {
  asm volatile("xorl %%edx, %%edx; movl $1, %%eax; xorl %%ecx, %%ecx; divl %%ecx"
               :
               :
               : "eax", "ecx", "edx", "cc");
}

void non_canonical() { write_byte(0x8000000000000000); }

void panic_in_panic() {
  // The report's own output meets a broken frame chain: it must still end.
  asm volatile("movq $0x1234567, %%rbp; ud2" : : : "memory");
}

// Copies of a wrong length between user memory and the kernel's: the panic comes before the access,
// so that it matters little whether there is anything at the address.
void copy_to_anywhere(const void* from, std::size_t bytes) {
  (void)copy_to_user(reinterpret_cast<UserTarget>(kUserPage), opaque(from), opaque(bytes));
}
void copy_from_anywhere(void* to, std::size_t bytes) {
  (void)copy_from_user(opaque(to), reinterpret_cast<UserSource>(kUserPage), opaque(bytes));
}

void copy_out_of_slab_object() { copy_to_anywhere(kmalloc(64), 65); }
void copy_into_middle_of_heap_block() {
  copy_from_anywhere(static_cast<char*>(kmalloc_page(2 * kPageSize)) + 100, 2 * kPageSize - 99);
}
void copy_out_of_stack_frame() {
  char buffer[64] = {};
  copy_to_anywhere(buffer, 256);
}
void copy_below_stack() {
  const auto here = reinterpret_cast<std::uint64_t>(__builtin_frame_address(0));
  copy_from_anywhere(reinterpret_cast<void*>(here - 2048), 8);
}
void copy_of_code() { copy_to_anywhere(__text_start, 8); }
void copy_into_code() { copy_from_anywhere(const_cast<char*>(__text_start), 8); }
void copy_into_constants() { copy_from_anywhere(const_cast<char*>(__rodata_start), 8); }
void copy_into_free_frame() {
  const PhysAddr frame = frame_alloc();
  frame_free(frame);
  copy_from_anywhere(phys_to_virt(frame), 8);
}
void copy_into_page_table() { copy_from_anywhere(phys_to_virt(paging_create_directory()), 8); }

void hang() {
  while (true) {
    x86::cli();
    x86::hlt();
  }
}

struct Test {
  std::string_view kind;
  void (*run)();
};

constexpr Test kTests[] = {
    {"null", null_dereference},
    {"stack_overflow", stack_overflow},
    {"bad_free", bad_free},
    {"double_free", double_free},
    {"kcfi", wrong_type_call},
    {"write_text", write_to_code},
    {"write_rodata", write_to_constants},
    {"write_text_alias", write_to_code_by_direct_map},
    {"execute_data", execute_data},
    {"user_access", touch_user_memory},
    {"user_execute", execute_user_memory},
    {"kernel_root", enter_user_with_kernel_root},  // with page-table isolation
    {"write_xor_execute", map_writable_code},
    {"assert", assertion},
    {"stack_smash", smash_stack},
    {"invalid_opcode", invalid_opcode},
    {"divide", divide_by_zero},
    {"non_canonical", non_canonical},
    {"broken_frames", panic_in_panic},
    {"copy_slab", copy_out_of_slab_object},
    {"copy_heap", copy_into_middle_of_heap_block},
    {"copy_stack", copy_out_of_stack_frame},
    {"copy_below_stack", copy_below_stack},
    {"copy_code", copy_of_code},
    {"copy_into_code", copy_into_code},
    {"copy_constants", copy_into_constants},
    {"copy_free_frame", copy_into_free_frame},
    {"copy_page_table", copy_into_page_table},
    {"hang", hang},
};

}  // namespace

void run_boot_test(std::string_view kind) {
  if (kind.empty()) {
    return;
  }
  for (const Test& test : kTests) {
    if (test.kind == kind) {
      log(LogLevel::kNotice, "panic_test: %.*s", static_cast<int>(kind.size()), kind.data());
      test.run();
      panic("panic_test=%.*s went unnoticed", static_cast<int>(kind.size()), kind.data());
    }
  }
  log(LogLevel::kWarning, "panic_test: there is no '%.*s'", static_cast<int>(kind.size()),
      kind.data());
}

}  // namespace holstein
