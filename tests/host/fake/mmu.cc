#include "tests/host/fake/mmu.h"

#include <atomic>

#include "lib/cpu_port.h"
#include "vm/port.h"

namespace holstein {
namespace {

std::atomic<fake::MmuHooks*> hooks = nullptr;
struct Root {
  PhysAddr root;
};
PerCpu<Root> roots;

}  // namespace

namespace fake {

void set_mmu_hooks(MmuHooks* new_hooks) {
  hooks.store(new_hooks);
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu) {
    roots.cpu(cpu).root = PhysAddr();
  }
}

}  // namespace fake

namespace port {

void load_root(PhysAddr root) {
  roots.this_cpu().root = root;
  if (fake::MmuHooks* listener = hooks.load(); listener != nullptr) {
    listener->load_root(root);
  }
}

PhysAddr current_root() { return roots.this_cpu().root; }

void invalidate_page(VirtAddr page) {
  if (fake::MmuHooks* listener = hooks.load(); listener != nullptr) {
    listener->invalidate_page(page);
  }
}

void invalidate_everything() {
  if (fake::MmuHooks* listener = hooks.load(); listener != nullptr) {
    listener->invalidate_everything();
  }
}

}  // namespace port
}  // namespace holstein
