// Expects a refusal: its exit code and a part of its message.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "framework/core/error.h"

namespace fern::testing {

template <typename Call>
void expect_usage(const Call& call, const std::string& part) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadUsage);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    return;
  }
  ADD_FAILURE() << "no error, expected: " << part;
}

}  // namespace fern::testing
