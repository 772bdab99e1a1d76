// A model's weights under other patterns: what `fern prune`, `fern densify` and training that starts from
// another model do.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/model/parameters.h"
#include "framework/sparsity/sparsity_config.h"

namespace fern {

// Patterns that are left when a dense model is pruned at once to the budget of `config`, whose method is
// magnitude or random. Takes a copy of the weights that are to be sparse. REQUIRES: f32 parameters without
// patterns. Errors (kBadUsage): another method; no weight to be sparse; those of make_method().
std::vector<SparseRun> pruned_patterns(const SparsityConfig& config, const Parameters& dense, uint64_t seed);

// Each weight of `to` takes its value in `from`, a model of the same matrices; 0 where it does not exist
// there. REQUIRES: f32 parameters.
void copy_weights(Parameters& to, const Parameters& from);

}  // namespace fern
