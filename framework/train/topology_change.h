// Moves a model in training from its patterns to others.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/model/parameters.h"
#include "framework/optim/adamw.h"
#include "framework/train/reducers.h"

namespace fern {

// Gives the parameters these patterns. A kept weight keeps its value and its moments to the bit, wherever it
// moves in the flat buffers; a grown one starts with zeros, and, if `ages`, with an age of its own that
// counts from `updates`, the optimizer updates done so far. The gradients are left undefined. Every process
// calls it with the same patterns, between two steps. Takes no memory beside the gradients' but for one run's
// index. Errors: see Parameters::set_patterns(); more than 65535 generations of weights.
void change_topology(Parameters& parameters, AdamW& optimizer, GradReducer& gradients,
                     std::vector<SparseRun> next, int64_t updates, bool ages);

}  // namespace fern
