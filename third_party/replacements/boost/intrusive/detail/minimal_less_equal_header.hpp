// In the place of boost's header of this name, which wants std::less and std::equal_to and takes them
// out of the smallest header that it knows: for libstdc++ a part of <functional>, for any other library
// all of it. libc++'s <functional> brings <vector>, <unordered_map> and half of <format>: two thirds of
// all lines in a kernel source file, 0.6 s of its compilation and as much of its check by clang-tidy.
#pragma once

#include <__functional/operations.h>
