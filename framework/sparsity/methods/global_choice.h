// Weights that compete for one number of blocks: sparsity.global.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/sparsity/method.h"

namespace fern {

int64_t sum(std::span<const int64_t> counts);

// How many blocks of each weight are among the `count` largest of all; the largest of each always is. Reads
// the values. REQUIRES: count is at least the number of weights that have a block.
std::vector<int64_t> globally_largest(std::span<const WeightView> views, int64_t count);

}  // namespace fern
