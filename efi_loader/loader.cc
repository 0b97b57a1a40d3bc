// The loader's steps in order: see loader.h.
#include "efi_loader/loader.h"

#include "efi_loader/bytes.h"
#include "efi_loader/command_line.h"
#include "efi_loader/direct_map.h"
#include "efi_loader/exit.h"
#include "efi_loader/initramfs.h"
#include "efi_loader/kernel_image.h"
#include "efi_loader/layout.h"
#include "efi_loader/memory_map.h"
#include "efi_loader/page_tables.h"
#include "efi_loader/random.h"
#include "efi_loader/relocate.h"

namespace holstein::loader {
namespace {

// What the kernel finds in one block of loader data, beside the stack that it starts on.
struct HandoffPages {
  BootInfo boot_info;
  CommandLine command_line;
};

Result<> check_cpu(const CpuFeatures& cpu) {
  if (!cpu.no_execute) {
    return fail(kUnsupported, "this CPU cannot forbid execution of data (no NX)");
  }
  if (cpu.five_level_paging_on) {
    return fail(kUnsupported,
                "the firmware has 5-level paging on, which cannot be left in 64-bit mode");
  }
  return {};
}

// All that the loader handed out must be reachable through the direct map.
Result<> check_reach(const RamRanges& ram, uint64_t start, uint64_t bytes, const char* what) {
  for (uint64_t i = 0; i < ram.count(); ++i) {
    const BootRange& range = ram.at(i);
    if (start >= range.start && fits_within(start - range.start, bytes, range.size_bytes)) {
      return {};
    }
  }
  return fail(kUnsupported, "the firmware's memory map is absurd: ", what, " at ", Hex{start},
              " is not in it");
}

}  // namespace

Result<Handoff> prepare_kernel(Firmware& firmware, uint64_t tsc_at_start) {
  const CpuFeatures cpu = firmware.cpu_features();
  TRY(check_cpu(cpu));

  // The map first: where it makes no sense, nothing that follows can be trusted.
  MemoryMapBuffer map_buffer;
  TRY(map_buffer.allocate(firmware));
  TRY_ASSIGN(const RawMemoryMap early_map, map_buffer.read(firmware));
  RamRanges ram;
  TRY(ram.collect(firmware, early_map));

  TRY_ASSIGN(const Block handoff_block,
             allocate_block(firmware, MemoryType::kLoaderData, sizeof(HandoffPages), kPageSize,
                            Contents::kZero, "boot information"));
  auto& pages = *reinterpret_cast<HandoffPages*>(handoff_block.memory);
  TRY_ASSIGN(const Block stack, allocate_block(firmware, MemoryType::kLoaderData, kBootStackBytes,
                                               kPageSize, Contents::kZero, "the boot stack"));

  CommandLine& command_line = pages.command_line;
  TRY(read_command_line(firmware, command_line));
  uint64_t options_bytes = 0;
  const uint8_t* options = firmware.load_options(options_bytes);
  append_load_options(command_line, options, options_bytes);

  TRY_ASSIGN(const KernelImage kernel, load_kernel(firmware));
  TRY_ASSIGN(const Initramfs initramfs, load_initramfs(firmware));

  Random random(firmware);
  const Kaslr kaslr = has_word(command_line, "nokaslr") ? Kaslr::kOff : Kaslr::kOn;
  const Layout layout = choose_layout(kernel.plan, ram.end(), kaslr, random);
  TRY(relocate_kernel(kernel.plan, kernel.image.memory, layout.kernel_slide));

  PageTables tables(firmware);
  TRY(map_ram(tables, ram, layout.direct_map_base, cpu));
  TRY(map_kernel(tables, kernel, layout));
  const uint64_t trampoline = firmware.trampoline_page();
  TRY(tables.map(trampoline, trampoline, kPageSize, Rights::kReadExecute, kPageSize));

  const uint64_t entry = kernel.plan.entry + layout.kernel_slide;
  BootInfo& info = pages.boot_info;
  info = {
      .magic = kBootInfoMagic,
      .version = kBootInfoVersion,
      .size_bytes = sizeof(BootInfo),
      .memory_map = map_buffer.descriptors_physical(),
      .memory_map_count = 0,  // known once boot services are gone
      .acpi_rsdp = firmware.acpi_rsdp(),
      .efi_system_table = firmware.system_table(),
      .framebuffer = firmware.framebuffer(),
      .command_line = handoff_block.physical + offsetof(HandoffPages, command_line.text),
      .command_line_bytes = command_line.bytes,
      .kernel = {.start = kernel.image.physical, .size_bytes = kernel.image.bytes},
      .kernel_virtual = layout.kernel_virtual,
      .kernel_slide = layout.kernel_slide,
      .kernel_entry_virtual = entry,
      .direct_map_base_virtual = layout.direct_map_base,
      .direct_map_end = ram.end(),
      .heap_base_virtual = layout.heap_base,
      .device_base_virtual = layout.device_base,
      .fixed_base_virtual = layout.fixed_base,
      .initramfs = {.start = initramfs.physical, .size_bytes = initramfs.bytes},
      .random_seed = {},
      .tsc_at_loader_start = tsc_at_start,
      .tsc_at_kernel_entry = 0,
  };
  random.fill(info.random_seed, sizeof(info.random_seed));

  TRY(check_reach(ram, info.memory_map, map_buffer.descriptors_bytes(), "its own copy"));
  TRY(check_reach(ram, handoff_block.physical, handoff_block.bytes, "boot information"));
  TRY(check_reach(ram, stack.physical, stack.bytes, "the boot stack"));
  TRY(check_reach(ram, initramfs.physical, initramfs.bytes, "the initramfs"));
  TRY(check_reach(ram, kernel.image.physical, kernel.image.bytes, "the kernel"));
  TRY(check_reach(ram, tables.root_physical(), kPageSize, "a page table"));

  TRY_ASSIGN(const RawMemoryMap map, exit_boot_services(firmware, map_buffer));
  info.memory_map_count = map_buffer.normalise(map);
  info.tsc_at_kernel_entry = firmware.time_stamp();
  return Handoff{
      .page_table_root = tables.root_physical(),
      .entry_virtual = entry,
      .boot_info_virtual = layout.direct_map_base + handoff_block.physical,
      .stack_top_virtual = layout.direct_map_base + stack.physical + stack.bytes,
  };
}

void report(Firmware& firmware, const Failure& failure) {
  const Line text = line("holstein loader: ", failure.message.c_str());
  firmware.write_debug_port(line(text.c_str(), "\n").c_str());
  firmware.write_console(line(text.c_str(), "\r\n").c_str());
  if (!firmware.console_reaches_serial()) {
    firmware.write_serial(line(text.c_str(), "\r\n").c_str());
  }
}

}  // namespace holstein::loader
