// In the place of boost's header of this name, which wants std::less and std::equal_to and takes them
// out of the smallest header that it knows: for libstdc++ a part of <functional>, for any other library
// all of it. libc++'s <functional> brings <vector>, <unordered_map> and half of <format>: 31,000
// lines, a third to a half of all in a kernel source file, and half a second of its compilation.
#pragma once

#include <__functional/operations.h>
