// A finished dense model made sparse at once.
#pragma once

#include <span>
#include <vector>

#include "framework/sparsity/method.h"

namespace fern {

// Patterns of each weight when the full patterns of `views` are pruned to the budget of `setup`, whose method
// is magnitude or random (train_steps may be 0). Values are in the order of the full patterns: row-major for
// blocks of 1 x 1. Errors: those of Method; (kBadUsage) another method; (kFailed) a pattern that is not full.
std::vector<Pattern> prune(const MethodSetup& setup, std::span<const WeightView> views);

}  // namespace fern
