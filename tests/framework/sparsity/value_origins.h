// Where each value of `now` was in `before`: its index there, or -1 for a weight that is new.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <vector>

#include "framework/sparsity/value_moves.h"

namespace fern::testing {

inline std::vector<int64_t> value_origins(const Pattern& now, const Pattern& before) {
  std::vector<int64_t> origins;
  for_each_move(now, before, [&](ValueMove move) {
    EXPECT_EQ(move.to, std::ssize(origins));
    for (int64_t i = 0; i < move.count; ++i) origins.push_back(move.is_new() ? -1 : move.from + i);
  });
  return origins;
}

}  // namespace fern::testing
