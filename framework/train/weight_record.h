// What is known of which weights of one matrix exist, as it goes from process to process.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/sparsity/budget.h"
#include "framework/sparsity/pattern.h"

namespace fern {

struct WeightRecord {
  Pattern pattern = {};                    // of a matrix that is still dense: without rows
  std::vector<uint16_t> generation = {};   // of each weight (optim/weight_ages.h); empty: all of the first
  std::vector<uint64_t> scores = {};       // GrowthScores::state()
  std::vector<uint64_t> ever_active = {};  // EverActive::bits()
  bool operator==(const WeightRecord&) const = default;
};

std::vector<uint32_t> words_of(const WeightRecord& record);
// REQUIRES: words_of() a record of this weight.
WeightRecord record_of(const SparseWeight& weight, std::span<const uint32_t> words);

}  // namespace fern
