// A walk over the weights of a pattern.
#pragma once

#include <cstdint>

#include "framework/sparsity/pattern.h"

namespace fern {

// Calls visit(row, column, index of the value) for the weights of rows [first, last) of blocks, in the order
// of the values.
template <typename Visit>
void for_each_weight(const Pattern& pattern, int64_t first, int64_t last, const Visit& visit) {
  const BlockShape block = pattern.block();
  for (int64_t r = first; r < last; ++r) {
    int64_t value = pattern.row_begin()[static_cast<size_t>(r)] * block.elements();
    for (const uint16_t c : pattern.row(r))
      for (int64_t i = 0; i < block.rows; ++i)
        for (int64_t j = 0; j < block.columns; ++j) visit(r * block.rows + i, c * block.columns + j, value++);
  }
}

}  // namespace fern
