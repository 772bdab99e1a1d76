// What is known of one weight matrix that processes share: put together from all shares, and cut out again
// for one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/model/parameters.h"
#include "framework/sparsity/method.h"
#include "framework/train/weight_record.h"

namespace fern {

// The whole weight's record, from those of its shares in order: one process alone would have the same. Where
// shares tell no patterns there are none, and so for the rest. REQUIRES: generations come with patterns.
WeightRecord joined(const Method& method, size_t weight, std::span<const Parameter> shares,
                    std::span<const WeightRecord> records);

// The part of the whole weight's WeightRecord::scores that is of the share's blocks, and of its ever_active.
// Errors: they are of another matrix.
std::vector<uint64_t> scores_of_share(std::span<const uint64_t> whole, const Parameter& share,
                                      BlockShape block);
std::vector<uint64_t> ever_active_of_share(std::span<const uint64_t> whole, const Parameter& share,
                                           BlockShape block);

}  // namespace fern
