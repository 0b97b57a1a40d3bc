// kmalloc and kfree on behalf of a known caller: for operator new and for functions built on them.
#pragma once

#include <cstddef>

#include "vm/call_site.h"

namespace holstein {

void* kmalloc_at(std::size_t size, CallSite site);
void* kmalloc_aligned_at(std::size_t size, std::size_t align, CallSite site);
void kfree_at(void* pointer, CallSite site);

}  // namespace holstein
