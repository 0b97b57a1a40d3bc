// The signal handler. It does what the comment in uaccess/extable.h asks of a trap handler.
#include "tests/host/uaccess/fault_handler.h"

#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <mutex>
#include <optional>

#include "uaccess/extable.h"

namespace holstein::testing {
namespace {

constexpr int kTrapGeneralProtection = 13;
constexpr int kTrapPageFault = 14;
constexpr std::uint64_t kErrorWrite = 1 << 1;
constexpr std::uint64_t kErrorUser = 1 << 2;

struct sigaction g_before[NSIG];
OtherFaults g_others = OtherFaults::kKill;
std::atomic<ServeFault> g_server = nullptr;
std::atomic<std::size_t> g_faults = 0;

void on_fault(int signal, siginfo_t*, void* context) {
  auto* frame = static_cast<ucontext_t*>(context);
  greg_t* registers = frame->uc_mcontext.gregs;
  std::optional<std::uint64_t> fixup;
  const auto rip = static_cast<std::uint64_t>(registers[REG_RIP]);
  const auto rflags = static_cast<std::uint64_t>(registers[REG_EFL]);
  const auto address = static_cast<std::uint64_t>(registers[REG_CR2]);
  const auto error = static_cast<std::uint64_t>(registers[REG_ERR]);
  if (registers[REG_TRAPNO] == kTrapPageFault) {
    // The test runs in user mode, and the CPU says so; the kernel does not.
    fixup = uaccess_fixup(KernelPageFault{
        .rip = rip, .rflags = rflags, .error_code = error & ~kErrorUser, .address = address});
  } else if (registers[REG_TRAPNO] == kTrapGeneralProtection) {
    fixup = uaccess_fixup(
        KernelGeneralProtection{.rip = rip,
                                .rflags = rflags,
                                .rdi = static_cast<std::uint64_t>(registers[REG_RDI]),
                                .rsi = static_cast<std::uint64_t>(registers[REG_RSI])});
  }
  if (!fixup.has_value()) {
    // The instruction faults again, for good.
    if (g_others == OtherFaults::kPreviousHandler) {
      sigaction(signal, &g_before[signal], nullptr);
    } else {
      ::signal(signal, SIG_DFL);
    }
    return;
  }
  g_faults.fetch_add(1, std::memory_order_relaxed);
  const ServeFault server = g_server.load();
  if (server != nullptr && registers[REG_TRAPNO] == kTrapPageFault &&
      server(address, (error & kErrorWrite) != 0)) {
    return;
  }
  registers[REG_RIP] = static_cast<greg_t>(*fixup);
}

}  // namespace

void install_fault_handler(OtherFaults others) {
  static std::once_flag once;
  std::call_once(once, [others] {
    g_others = others;
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &g_before[SIGSEGV]);
    sigaction(SIGBUS, &action, &g_before[SIGBUS]);
  });
}

void set_fault_server(ServeFault server) { g_server.store(server); }

std::size_t faults_seen() { return g_faults.load(); }

}  // namespace holstein::testing
