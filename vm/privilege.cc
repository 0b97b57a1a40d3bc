#include "vm/privilege.h"

#include <atomic>

namespace holstein {
namespace {

constinit std::atomic<bool (*)(MemoryPrivilege)> answer = nullptr;

}  // namespace

bool caller_has(MemoryPrivilege privilege) {
  bool (*const has)(MemoryPrivilege) = answer.load(std::memory_order_relaxed);
  return has == nullptr || has(privilege);
}

void set_memory_privileges(bool (*has)(MemoryPrivilege privilege)) {
  answer.store(has, std::memory_order_relaxed);
}

}  // namespace holstein
