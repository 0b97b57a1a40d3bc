// SIGSEGV as the page-fault handler: what kernel/x86 does with a fault in kernel mode, done by a
// signal handler in a host test. Faults that have no fixup end the program as they always do.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holstein::testing {

// Serves a fault as vm/ would, or declines with false.
using ServeFault = bool (*)(std::uint64_t address, bool is_write);

// What becomes of a fault without a fixup: the program dies of it, or the handler that was there
// before gets it (a fuzzer's, which keeps the input).
enum class OtherFaults { kKill, kPreviousHandler };

// Installs the handler, once; further calls do nothing.
void install_fault_handler(OtherFaults others = OtherFaults::kKill);

// Asked about every fault that has a fixup, before the fixup is taken. Null: none is served.
void set_fault_server(ServeFault server);

// Faults that have had a fixup so far.
std::size_t faults_seen();

}  // namespace holstein::testing
