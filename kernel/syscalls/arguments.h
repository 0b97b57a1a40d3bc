// What the parameters of a system call's handler may be. The type of each says how it is made from
// the registers and what kind of argument it is, for dispatch, tracing, the pointer matrix and the
// fuzzer alike: a handler and its description cannot disagree.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "proc/port.h"
#include "uaccess/user_ptr.h"

namespace holstein {

enum class ArgumentKind : std::uint8_t {
  kNone,
  kNumber,
  kFlags,
  kDescriptor,           // an open file
  kDirectoryDescriptor,  // the base of a relative path; AT_FDCWD allowed
  kProcess,              // a process, thread or group id
  kSignal,
  kMode,        // permission bits
  kAddress,     // a place in the address space that is not accessed
  kPath,        // pointer to a NUL-terminated path
  kString,      // pointer to any other NUL-terminated string
  kPointerIn,   // pointer to one object of `size` bytes that is read
  kPointerOut,  // written
  kPointerInOut,
  kBufferIn,  // pointer to objects of `size` bytes; the next argument is their number
  kBufferOut,
  kBufferInOut,
  kLength,      // that number
  kRawPointer,  // a pointer whose meaning depends on another argument (ioctl, fcntl, prctl)
};

struct ArgumentInfo {
  ArgumentKind kind = ArgumentKind::kNone;
  std::uint32_t size = 0;  // bytes of one object behind a pointer
};

// Numbers with a meaning. Each holds the register cut to the width that Linux's call has.
struct FileDescriptor {
  int number;
};
struct DirectoryDescriptor {
  int number;
};
struct ProcessNumber {
  std::int32_t number;
};
struct SignalNumber {
  int number;
};
struct ModeArgument {
  std::uint32_t bits;
};
struct FlagsArgument {
  std::uint32_t bits;
};
struct FlagsArgument64 {
  std::uint64_t bits;
};
struct UserAddress {
  std::uint64_t value;
};
struct UserPath {
  UserString string;
};
// Follows as the call's other arguments say.
struct RawArgument {
  std::uint64_t value;
};

// How T is made from registers: kRegisters of them, described by kInfo.
template <class T>
struct ArgumentTraits;

template <std::integral T>
struct ArgumentTraits<T> {
  static constexpr std::size_t kRegisters = 1;
  static constexpr ArgumentInfo kInfo[] = {{.kind = ArgumentKind::kNumber, .size = 0}};
  static T make(const std::uint64_t* registers) { return static_cast<T>(registers[0]); }
};

template <class T, auto kMember, ArgumentKind kKind>
struct NumberTraits {
  static constexpr std::size_t kRegisters = 1;
  static constexpr ArgumentInfo kInfo[] = {{.kind = kKind, .size = 0}};
  static T make(const std::uint64_t* registers) {
    T value{};
    value.*kMember = static_cast<std::remove_cvref_t<decltype(value.*kMember)>>(registers[0]);
    return value;
  }
};
template <>
struct ArgumentTraits<FileDescriptor>
    : NumberTraits<FileDescriptor, &FileDescriptor::number, ArgumentKind::kDescriptor> {};
template <>
struct ArgumentTraits<DirectoryDescriptor>
    : NumberTraits<DirectoryDescriptor, &DirectoryDescriptor::number,
                   ArgumentKind::kDirectoryDescriptor> {};
template <>
struct ArgumentTraits<ProcessNumber>
    : NumberTraits<ProcessNumber, &ProcessNumber::number, ArgumentKind::kProcess> {};
template <>
struct ArgumentTraits<SignalNumber>
    : NumberTraits<SignalNumber, &SignalNumber::number, ArgumentKind::kSignal> {};
template <>
struct ArgumentTraits<ModeArgument>
    : NumberTraits<ModeArgument, &ModeArgument::bits, ArgumentKind::kMode> {};
template <>
struct ArgumentTraits<FlagsArgument>
    : NumberTraits<FlagsArgument, &FlagsArgument::bits, ArgumentKind::kFlags> {};
template <>
struct ArgumentTraits<FlagsArgument64>
    : NumberTraits<FlagsArgument64, &FlagsArgument64::bits, ArgumentKind::kFlags> {};
template <>
struct ArgumentTraits<UserAddress>
    : NumberTraits<UserAddress, &UserAddress::value, ArgumentKind::kAddress> {};
template <>
struct ArgumentTraits<RawArgument>
    : NumberTraits<RawArgument, &RawArgument::value, ArgumentKind::kRawPointer> {};

template <>
struct ArgumentTraits<UserPath> {
  static constexpr std::size_t kRegisters = 1;
  static constexpr ArgumentInfo kInfo[] = {{.kind = ArgumentKind::kPath, .size = 1}};
  static UserPath make(const std::uint64_t* registers) {
    return {.string = UserString::from_register(registers[0])};
  }
};
template <>
struct ArgumentTraits<UserString> {
  static constexpr std::size_t kRegisters = 1;
  static constexpr ArgumentInfo kInfo[] = {{.kind = ArgumentKind::kString, .size = 1}};
  static UserString make(const std::uint64_t* registers) {
    return UserString::from_register(registers[0]);
  }
};

constexpr ArgumentKind pointer_kind(Direction direction) {
  return direction == Direction::kIn    ? ArgumentKind::kPointerIn
         : direction == Direction::kOut ? ArgumentKind::kPointerOut
                                        : ArgumentKind::kPointerInOut;
}
constexpr ArgumentKind buffer_kind(Direction direction) {
  return direction == Direction::kIn    ? ArgumentKind::kBufferIn
         : direction == Direction::kOut ? ArgumentKind::kBufferOut
                                        : ArgumentKind::kBufferInOut;
}

template <class T, Direction D>
struct ArgumentTraits<UserPtr<T, D>> {
  static constexpr std::size_t kRegisters = 1;
  static constexpr ArgumentInfo kInfo[] = {{.kind = pointer_kind(D), .size = sizeof(T)}};
  static UserPtr<T, D> make(const std::uint64_t* registers) {
    return UserPtr<T, D>::from_register(registers[0]);
  }
};
// Two registers: address and count.
template <class T, Direction D>
struct ArgumentTraits<UserSpan<T, D>> {
  static constexpr std::size_t kRegisters = 2;
  static constexpr ArgumentInfo kInfo[] = {{.kind = buffer_kind(D), .size = sizeof(T)},
                                           {.kind = ArgumentKind::kLength, .size = 0}};
  static UserSpan<T, D> make(const std::uint64_t* registers) {
    return UserSpan<T, D>::from_registers(registers[0], registers[1]);
  }
};

}  // namespace holstein
