// The firmware's status codes that the loader tells apart (UEFI 2.10, appendix D), as plain numbers
// so that host tests need no UEFI header. uefi/firmware.cc asserts that they are gnu-efi's.
#pragma once

#include <stdint.h>

namespace holstein::loader {

using Status = uint64_t;

inline constexpr Status kErrorBit = 1ULL << 63;
inline constexpr Status kSuccess = 0;
inline constexpr Status kLoadError = kErrorBit | 1;
inline constexpr Status kInvalidParameter = kErrorBit | 2;
inline constexpr Status kUnsupported = kErrorBit | 3;
inline constexpr Status kBufferTooSmall = kErrorBit | 5;
inline constexpr Status kDeviceError = kErrorBit | 7;
inline constexpr Status kOutOfResources = kErrorBit | 9;
inline constexpr Status kVolumeCorrupted = kErrorBit | 10;
inline constexpr Status kNotFound = kErrorBit | 14;

}  // namespace holstein::loader
