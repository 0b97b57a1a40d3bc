// Results of the loader's functions: a value, or the line that tells a person what is wrong.
//
// The macros TRY and TRY_ASSIGN are lib/result.h's; an errno would say less than the loader owes to
// somebody in front of a machine that does not boot.
#pragma once

#include <expected>

#include "efi_loader/status.h"
#include "efi_loader/text.h"
#include "lib/result.h"

namespace holstein::loader {

struct Failure {
  Status status;  // what the firmware is told
  Line message;   // what a person is told, without the "holstein loader: " prefix
};

template <class T = void>
using Result = std::expected<T, Failure>;

// return fail(kLoadError, "kernel.elf is ", Size{12}): the parts make the message.
template <class... Parts>
std::unexpected<Failure> fail(Status status, const Parts&... parts) {
  return std::unexpected(Failure{status, line(parts...)});
}

}  // namespace holstein::loader
