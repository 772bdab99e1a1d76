// Patterns to begin with.
#pragma once

#include <cstdint>
#include <span>

#include "framework/sparsity/budget.h"
#include "framework/sparsity/pattern.h"

namespace fern {

// The pattern of one weight with exactly `blocks` blocks, a function of (seed, weight name) alone: drawn at
// random, evenly from the cells of the pattern's rule, or a butterfly. REQUIRES: `blocks` is the weight's of
// block_budget(), so that the rule can be kept.
Pattern initial_pattern(const SparsityConfig& config, const SparseWeight& weight, int64_t blocks,
                        uint64_t seed);

// The pattern of blocks at `positions`: row-major in the matrix of blocks, ascending.
Pattern pattern_at(const SparseWeight& weight, std::span<const uint64_t> positions);

}  // namespace fern
