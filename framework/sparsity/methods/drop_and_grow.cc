#include "framework/sparsity/methods/drop_and_grow.h"

#include <algorithm>
#include <cmath>

#include "framework/sparsity/methods/global_choice.h"

namespace fern {

std::vector<Change> DropAndGrow::counts(int64_t step, std::span<const WeightView> views) const {
  std::vector<int64_t> most;
  for (size_t i = 0; i < views.size(); ++i) most.push_back(views[i].is_here() ? sum(room(i, views[i])) : 0);
  if (config().global) return global_counts(step, views, most);
  std::vector<Change> changes;
  for (size_t i = 0; i < views.size(); ++i) {
    const int64_t share = std::llround(drop_share(step) * static_cast<double>(views[i].pattern.blocks()));
    changes.push_back({std::min(share, most[i]), std::min(share, most[i])});
  }
  return changes;
}

std::vector<Change> DropAndGrow::global_counts(int64_t step, std::span<const WeightView> views,
                                               std::span<const int64_t> most) const {
  int64_t blocks = 0, spare = 0;
  for (const WeightView& view : views) {
    blocks += view.pattern.blocks();
    spare += std::max<int64_t>(view.pattern.blocks() - 1, 0);
  }
  const int64_t share = std::llround(drop_share(step) * static_cast<double>(blocks));
  const int64_t count = std::min({share, spare, sum(most)});
  const std::vector<int64_t> stay = globally_largest(views, blocks - count),
                             grows = spread(views, most, count);
  std::vector<Change> changes;
  for (size_t i = 0; i < views.size(); ++i)
    changes.push_back({views[i].pattern.blocks() - stay[i], grows[i]});
  return changes;
}

Pattern DropAndGrow::next(int64_t step, size_t weight, const WeightView& view, Change change) const {
  const Cells cells = this->cells(weight);
  // One cell drops what counts() said; several grow in each what it has dropped, which room limits.
  const std::vector<int64_t> limit = cells.whole() ? std::vector{change.drop} : room(weight, view);
  const std::vector<uint64_t> dropped =
      smallest_blocks(block_worths(view.pattern, view.values), change.drop, cells, limit);
  const std::vector<int64_t> counts =
      cells.whole() ? std::vector{change.grow} : counts_of_cells(dropped, cells);
  std::vector<uint64_t> grown = this->grown(step, weight, view, counts);
  sort_within_cells(grown, cells);
  return changed(view.pattern, dropped, grown);
}

}  // namespace fern
