// What libc++'s own headers need of <math.h>, so that <functional> and <unordered_map> compile.
#pragma once

#define FP_NAN 0
#define FP_INFINITE 1
#define FP_ZERO 2
#define FP_SUBNORMAL 3
#define FP_NORMAL 4

#ifdef _WIN32  // The UEFI target: libc++ takes these two from Windows' C library.
inline bool isnan(double value) { return __builtin_isnan(value); }
inline bool isinf(double value) { return __builtin_isinf(value); }
#endif
