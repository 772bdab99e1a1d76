// Flat block butterflies: Dao et al. 2022, "Pixelated butterfly", section 3.2.
#pragma once

#include <cstdint>

#include "framework/sparsity/budget.h"
#include "framework/sparsity/pattern.h"

namespace fern {

// Block i of a square butterfly meets itself and i with one of its `strides` lowest bits turned: the union of
// the diagonal and the factors of strides 2, 4, ... 2^strides. A side that is no power of two is cut from the
// next; the longer side of a rectangle is stretched over the shorter. REQUIRES strides >= 0.
Pattern flat_butterfly(const SparseWeight& weight, int strides);

// Blocks of the butterfly with the most strides of at most `limit` blocks; 0 when the diagonal alone has
// more.
int64_t most_butterfly_blocks(const SparseWeight& weight, int64_t limit);
// That butterfly. REQUIRES: the diagonal fits.
Pattern largest_butterfly(const SparseWeight& weight, int64_t limit);

}  // namespace fern
