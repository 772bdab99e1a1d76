#include "framework/sparsity/methods/pruning.h"

#include <algorithm>

#include "framework/sparsity/methods/global_choice.h"
#include "framework/sparsity/pattern_making.h"

namespace fern {

namespace {

// Rounding may give a weight a block more than it has while the others have fewer: none can come back, so
// what it lacks stays with the first that still have it.
std::vector<int64_t> reachable(std::vector<int64_t> target, std::span<const WeightView> views) {
  int64_t lacking = 0;
  for (size_t i = 0; i < views.size(); ++i) {
    const int64_t blocks = views[i].blocks();
    lacking += std::max<int64_t>(target[i] - blocks, 0);
    target[i] = std::min(target[i], blocks);
  }
  for (size_t i = 0; i < views.size(); ++i) {
    const int64_t kept = std::min(lacking, views[i].blocks() - target[i]);
    target[i] += kept;
    lacking -= kept;
  }
  return target;
}

}  // namespace

MagnitudePruning::MagnitudePruning(MethodSetup setup)
    : Method(std::move(setup)), first_budget_(block_budget(config(), this->setup().weights, 0)) {}

Pattern MagnitudePruning::initial(size_t index) const {
  const int64_t blocks = first_budget_[index];
  if (blocks == weight(index).blocks())
    return Pattern::full(weight(index).rows, weight(index).columns, weight(index).block);
  return initial_pattern(config(), weight(index), blocks, setup().seed);
}

std::vector<Change> MagnitudePruning::counts(int64_t step, std::span<const WeightView> views) const {
  std::vector<int64_t> kept = reachable(block_budget(config(), setup().weights, progress(step)), views);
  if (config().global) kept = globally_largest(views, sum(kept));
  std::vector<Change> changes;
  for (size_t i = 0; i < views.size(); ++i) changes.push_back({views[i].blocks() - kept[i], 0});
  return changes;
}

Pattern MagnitudePruning::next(int64_t, size_t index, const WeightView& view, Change change) const {
  const Cells cells = this->cells(index);
  const int64_t kept = (view.pattern.blocks() - change.drop) / cells.count;
  return pattern_at(weight(index), largest_of_cells(block_worths(view.pattern, view.values), kept, cells));
}

}  // namespace fern
