#include "framework/sparsity/methods/global_choice.h"

#include <algorithm>
#include <numeric>

#include "framework/sparsity/block_choice.h"

namespace fern {

int64_t sum(std::span<const int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

std::vector<int64_t> globally_largest(std::span<const WeightView> views, int64_t count) {
  std::vector<std::vector<uint64_t>> worths;
  for (const WeightView& view : views) {
    worths.push_back(block_worths(view.pattern, view.values));
    if (!worths.back().empty()) *std::max_element(worths.back().begin(), worths.back().end()) = UINT64_MAX;
  }
  return counts_among_largest(worths, count);
}

}  // namespace fern
