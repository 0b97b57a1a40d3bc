// Results of functions that can fail: a value or an Errno, never an exception.
#pragma once

#include <expected>
#include <utility>

#include "lib/errno.h"

namespace holstein {

template <class T = void>
using Result = std::expected<T, Errno>;

inline std::unexpected<Errno> fail(Errno error) { return std::unexpected<Errno>(error); }

}  // namespace holstein

// Passes an error on to the caller; on success goes on with the next statement.
//   TRY(region.resize(bytes));
#define TRY(expression)                                              \
  do {                                                               \
    if (auto try_result_ = (expression); !try_result_.has_value()) { \
      return ::std::unexpected(try_result_.error());                 \
    }                                                                \
  } while (false)

#define HOLSTEIN_CONCAT_INNER(a, b) a##b
#define HOLSTEIN_CONCAT(a, b) HOLSTEIN_CONCAT_INNER(a, b)

// Declares or assigns `target` from a Result's value, or passes the error on.
//   TRY_ASSIGN(auto frame, allocate_frame());
#define TRY_ASSIGN(target, expression) \
  TRY_ASSIGN_INNER(HOLSTEIN_CONCAT(try_assign_result_, __COUNTER__), target, expression)
#define TRY_ASSIGN_INNER(result, target, expression) \
  auto result = (expression);                        \
  if (!result.has_value()) {                         \
    return ::std::unexpected(result.error());        \
  }                                                  \
  target = std::move(*result)
