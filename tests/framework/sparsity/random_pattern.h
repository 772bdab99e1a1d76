// Patterns for tests: each block exists with a given probability; some rows are made empty and some full.
#pragma once

#include <cstdint>

#include "framework/core/rng.h"
#include "framework/sparsity/pattern.h"

namespace fern::testing {

inline Pattern random_pattern(int64_t rows, int64_t columns, BlockShape block, double density,
                              uint64_t seed) {
  std::vector<int64_t> row_begin = {0};
  std::vector<uint16_t> index;
  for (int64_t r = 0; r < rows / block.rows; ++r) {
    const auto row = static_cast<uint64_t>(r);
    const double kind = random_uniform(seed, Purpose::kTest, row, 0);
    const double here = kind < 0.05 ? 0.0 : kind > 0.95 ? 1.0 : density;
    for (int64_t c = 0; c < columns / block.columns; ++c)
      if (random_uniform(seed, Purpose::kTest, row, static_cast<uint32_t>(c) + 1) < here)
        index.push_back(static_cast<uint16_t>(c));
    row_begin.push_back(static_cast<int64_t>(index.size()));
  }
  return {rows, columns, block, std::move(row_begin), std::move(index)};
}

}  // namespace fern::testing
