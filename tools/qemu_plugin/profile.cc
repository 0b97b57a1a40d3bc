// The plugin that `./holstein profile` loads into QEMU: hands what the emulated CPU does to a
// CallTree, and writes that to a file when QEMU ends.
//
// Arguments: functions=FILE (lines: `stubs START END`, `function START`; hexadecimal), output=FILE,
// marked=on|off (whether only what runs between the marks of profile_marks.h counts).
#include <cinttypes>
#include <cstdio>
#include <string_view>
#include <vector>

#include "tools/qemu_plugin/call_tree.h"
#include "tools/qemu_plugin/instruction.h"
#include "tools/qemu_plugin/plugin_api.h"

int qemu_plugin_version = kQemuPluginApiVersion;

namespace {

using holstein::profiler::Block;
using holstein::profiler::CallTree;
using holstein::profiler::classify;
using holstein::profiler::FunctionTable;
using holstein::profiler::InstructionKind;

constexpr uint64_t kKernelHalf = 0xFFFF'8000'0000'0000;
constexpr uint8_t kPushRdi = 0x57;  // the last push of a trap stub (kernel/x86/entry.S)
constexpr uint64_t kFromRdiToRip = 16;

// One profile a process; QEMU's callbacks get it from here, so that their data can be the block.
CallTree* tree;
FILE* output;
bool is_marked;
bool kernel_runs;  // what ran before it was the firmware and the loader

void on_block(unsigned, void* block) { tree->enter(*static_cast<Block*>(block)); }

void on_call(unsigned, qemu_plugin_meminfo_t access, uint64_t slot, void* return_address) {
  if (!qemu_plugin_mem_is_store(access)) return;  // an indirect call loads its target
  tree->call(slot, reinterpret_cast<uint64_t>(return_address));
}

void on_return(unsigned, qemu_plugin_meminfo_t, uint64_t slot, void*) { tree->return_from(slot); }

void on_interrupt_return(unsigned, qemu_plugin_meminfo_t, uint64_t slot, void*) {
  tree->interrupt_return_from(slot);
}

void on_stub_push(unsigned, qemu_plugin_meminfo_t, uint64_t slot, void*) {
  tree->trap_frame(slot + kFromRdiToRip);
}

void on_begin_mark(unsigned, void*) { tree->start(); }
void on_end_mark(unsigned, void*) { tree->stop(); }

std::span<const uint8_t> bytes_of(const qemu_plugin_insn* instruction) {
  return {static_cast<const uint8_t*>(qemu_plugin_insn_data(instruction)),
          qemu_plugin_insn_size(instruction)};
}

// Each access is reported: QEMU 7.2 confuses loads and stores where only one of them is asked for.
void watch_stack(qemu_plugin_insn* instruction, qemu_plugin_vcpu_mem_cb_t callback,
                 uint64_t data = 0) {
  qemu_plugin_register_vcpu_mem_cb(instruction, callback, QEMU_PLUGIN_CB_NO_REGS,
                                   QEMU_PLUGIN_MEM_RW, reinterpret_cast<void*>(data));
}

void watch_kernel(qemu_plugin_tb* translated) {
  const size_t count = qemu_plugin_tb_n_insns(translated);
  std::vector<uint64_t> addresses;
  for (size_t i = 0; i < count; ++i) {
    addresses.push_back(qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(translated, i)));
  }
  const bool is_stub = tree->functions().is_trap_stub(addresses.front());
  qemu_plugin_register_vcpu_tb_exec_cb(translated, on_block, QEMU_PLUGIN_CB_NO_REGS,
                                       &tree->block(addresses));
  for (size_t i = 0; i < count; ++i) {
    qemu_plugin_insn* const instruction = qemu_plugin_tb_get_insn(translated, i);
    qemu_plugin_register_vcpu_insn_exec_inline(instruction, QEMU_PLUGIN_INLINE_ADD_U64,
                                               &tree->kernel_instructions, 1);
    const std::span<const uint8_t> bytes = bytes_of(instruction);
    if (is_stub && bytes.size() == 1 && bytes[0] == kPushRdi) {
      watch_stack(instruction, on_stub_push);
    }
    switch (classify(bytes)) {
      case InstructionKind::kCall:
        watch_stack(instruction, on_call, addresses[i] + bytes.size());
        break;
      case InstructionKind::kReturn:
        watch_stack(instruction, on_return);
        break;
      case InstructionKind::kInterruptReturn:
        watch_stack(instruction, on_interrupt_return);
        break;
      default:
        break;
    }
  }
}

void watch_user(qemu_plugin_tb* translated) {
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(translated); ++i) {
    qemu_plugin_insn* const instruction = qemu_plugin_tb_get_insn(translated, i);
    qemu_plugin_register_vcpu_insn_exec_inline(instruction, QEMU_PLUGIN_INLINE_ADD_U64,
                                               &tree->user_instructions, 1);
    if (!is_marked) continue;
    const InstructionKind kind = classify(bytes_of(instruction));
    if (kind == InstructionKind::kBeginMark) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_begin_mark, QEMU_PLUGIN_CB_NO_REGS,
                                             nullptr);
    } else if (kind == InstructionKind::kEndMark) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_end_mark, QEMU_PLUGIN_CB_NO_REGS,
                                             nullptr);
    }
  }
}

void on_translation(qemu_plugin_id_t, qemu_plugin_tb* translated) {
  if (qemu_plugin_tb_vaddr(translated) >= kKernelHalf) {
    kernel_runs = true;
    watch_kernel(translated);
  } else if (kernel_runs) {
    watch_user(translated);
  }
}

void on_exit(qemu_plugin_id_t, void*) {
  if (!tree->write(output)) fputs("holstein profiler: the profile could not be written\n", stderr);
}

bool read_functions(FILE* file) {
  std::vector<uint64_t> starts;
  uint64_t stubs_begin = 0, stubs_end = 0, start = 0;
  if (fscanf(file, "stubs %" SCNx64 " %" SCNx64 "\n", &stubs_begin, &stubs_end) != 2) return false;
  while (fscanf(file, "function %" SCNx64 "\n", &start) == 1) starts.push_back(start);
  if (starts.empty() || !feof(file)) return false;
  tree = new CallTree(FunctionTable(std::move(starts), stubs_begin, stubs_end));
  return true;
}

int refuse(const char* why) {
  fprintf(stderr, "holstein profiler: %s\n", why);
  return 1;
}

}  // namespace

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv) {
  if (std::string_view(info->target_name) != "x86_64" || !info->system_emulation) {
    return refuse("only for a whole x86-64 machine");
  }
  if (info->system.smp_vcpus != 1) return refuse("only for one CPU");
  FILE* functions = nullptr;
  for (int i = 0; i < argc; ++i) {
    const std::string_view argument(argv[i]);
    const size_t equals = argument.find('=');
    if (equals == std::string_view::npos) return refuse("an argument without a value");
    const std::string_view name = argument.substr(0, equals);
    const char* const value = argv[i] + equals + 1;
    if (name == "functions") {
      functions = fopen(value, "r");
    } else if (name == "output") {
      output = fopen(value, "w");
    } else if (name == "marked") {
      is_marked = std::string_view(value) == "on";
    } else {
      return refuse("an unknown argument");
    }
  }
  if (functions == nullptr || output == nullptr) return refuse("functions= or output= is no file");
  const bool is_read = read_functions(functions);
  fclose(functions);
  if (!is_read) return refuse("the list of functions is damaged");
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_exit, nullptr);
  return 0;
}
