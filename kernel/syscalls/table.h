// The table of system calls: each is declared once, in table.inc, by its number, its name and its
// handler. Dispatch, tracing, the pointer matrix and the fuzzer's grammar read the same table.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/syscalls/arguments.h"
#include "lib/result.h"

namespace holstein {

using SystemCallResult = Result<std::int64_t>;

inline constexpr std::size_t kMaxArguments = 6;

struct SystemCall {
  std::uint32_t number;
  std::uint8_t argument_count;
  const char* name;
  ArgumentInfo arguments[kMaxArguments];
  // Makes the handler's parameters from the registers and calls it. Null in what describe_handler()
  // gives.
  SystemCallResult (*invoke)(UserRegisters& registers);
};

// Every call there is, in ascending order of number.
std::span<const SystemCall> system_calls();
// Null where there is no such call.
const SystemCall* find_system_call(std::uint64_t number);

namespace system_call_detail {

// Registers that `T` takes; none for the register frame itself.
template <class T>
inline constexpr std::size_t kRegistersOf = ArgumentTraits<T>::kRegisters;
template <>
inline constexpr std::size_t kRegistersOf<UserRegisters&> = 0;

template <class T>
T make_argument(UserRegisters& registers, const std::uint64_t* values) {
  if constexpr (std::is_same_v<T, UserRegisters&>) {
    return registers;
  } else {
    return ArgumentTraits<T>::make(values);
  }
}

template <class... Parameters>
constexpr std::size_t offset_of_parameter(std::size_t index) {
  constexpr std::array<std::size_t, sizeof...(Parameters) + 1> kSizes = {
      kRegistersOf<Parameters>..., 0};
  std::size_t offset = 0;
  for (std::size_t i = 0; i < index; ++i) {
    offset += kSizes[i];
  }
  return offset;
}

template <class T>
constexpr void describe(SystemCall& call) {
  if constexpr (!std::is_same_v<T, UserRegisters&>) {
    for (const ArgumentInfo& info : ArgumentTraits<T>::kInfo) {
      call.arguments[call.argument_count++] = info;
    }
  }
}

// What a handler's type alone says of a call.
template <class Function>
struct Signature;
template <class... Parameters>
struct Signature<SystemCallResult (*)(Parameters...)> {
  static_assert(offset_of_parameter<Parameters...>(sizeof...(Parameters)) <= kMaxArguments);

  static constexpr SystemCall describe_call(std::uint32_t number, const char* name) {
    SystemCall call = {
        .number = number, .argument_count = 0, .name = name, .arguments = {}, .invoke = nullptr};
    (describe<Parameters>(call), ...);
    return call;
  }
};

template <auto kHandler, class Function>
struct Adapter;
template <auto kHandler, class... Parameters>
struct Adapter<kHandler, SystemCallResult (*)(Parameters...)> {
  static SystemCallResult invoke(UserRegisters& registers) {
    return invoke_with(registers, std::index_sequence_for<Parameters...>());
  }

 private:
  template <std::size_t... kIndices>
  static SystemCallResult invoke_with(UserRegisters& registers, std::index_sequence<kIndices...>) {
    [[maybe_unused]] const std::uint64_t values[kMaxArguments] = {
        registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9};
    return kHandler(make_argument<Parameters>(
        registers, values + offset_of_parameter<Parameters...>(kIndices))...);
  }
};

}  // namespace system_call_detail

// The entry for `kHandler`, whose parameters say what the call's arguments are.
template <auto kHandler>
constexpr SystemCall system_call(std::uint32_t number, const char* name) {
  SystemCall call = system_call_detail::Signature<decltype(kHandler)>::describe_call(number, name);
  call.invoke = system_call_detail::Adapter<kHandler, decltype(kHandler)>::invoke;
  return call;
}

// The same without the handler itself, for programs that only talk about the table.
template <class Handler>
constexpr SystemCall describe_handler(std::uint32_t number, const char* name) {
  return system_call_detail::Signature<Handler>::describe_call(number, name);
}

}  // namespace holstein
