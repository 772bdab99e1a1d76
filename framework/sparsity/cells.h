// Parts of a weight that keep their number of blocks: the rule of a pattern.
#pragma once

#include <cstdint>

#include "framework/sparsity/budget.h"

namespace fern {

// Positions of blocks, row-major in the matrix, are cut into cells of equal size: the whole weight, a row
// (fan-in) or m neighbours of a row (n_of_m).
struct Cells {
  int64_t count = 1;      // of the weight
  int64_t positions = 0;  // of a cell

  // In 32 bits, which positions fit in (kMostPositions) and processors divide faster.
  int64_t of(uint64_t position) const {
    return static_cast<uint32_t>(position) / static_cast<uint32_t>(positions);
  }
  bool whole() const { return count == 1; }
};

inline Cells cells_of(const SparsityConfig& config, const SparseWeight& weight) {
  switch (config.pattern) {
    case PatternKind::kFanIn:
      return {weight.rows, weight.columns};
    case PatternKind::kNm:
      return {weight.blocks() / config.m, config.m};
    default:
      return {1, weight.blocks()};
  }
}

}  // namespace fern
