// What the loader's tests say about Results.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "efi_loader/result.h"

namespace holstein::loader {

// Succeeds where `result` is a failure with exactly this message.
template <class T>
testing::AssertionResult fails_with(const Result<T>& result, const std::string& message) {
  if (result.has_value()) return testing::AssertionFailure() << "succeeded";
  if (result.error().message.c_str() != message) {
    return testing::AssertionFailure() << "said: " << result.error().message.c_str();
  }
  if (result.error().status == kSuccess) return testing::AssertionFailure() << "status 0";
  return testing::AssertionSuccess();
}

template <class T>
testing::AssertionResult succeeds(const Result<T>& result) {
  if (result.has_value()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << result.error().message.c_str();
}

}  // namespace holstein::loader
