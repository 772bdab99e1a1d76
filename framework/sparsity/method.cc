#include "framework/sparsity/method.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/core/error.h"
#include "framework/sparsity/methods/table.h"
#include "framework/sparsity/pattern_making.h"

namespace fern {

Method::Method(MethodSetup setup) : setup_(std::move(setup)) {
  validate(config(), setup_.train_steps);
  budget_ = setup_.budget.empty() ? block_budget(config(), setup_.weights) : setup_.budget;
}

Pattern Method::initial(size_t weight) const {
  return initial_pattern(config(), setup_.weights[weight], budget_[weight], setup_.seed);
}

bool Method::updates_after(int64_t) const { return false; }

std::vector<Change> Method::counts(int64_t, std::span<const WeightView> views) const {
  return std::vector<Change>(views.size());
}

Pattern Method::next(int64_t, size_t, const WeightView& view, Change) const { return view.pattern; }

// An update drops the largest share at first, and grows as many.
int64_t Method::most_dropped(int64_t blocks) const {
  return std::llround(config().drop_fraction * static_cast<double>(blocks));
}

std::vector<GrowthScores> Method::growth_scores(std::span<const size_t> weights) const {
  std::vector<GrowthScores> scores;
  if (config().global) {
    const int64_t blocks = std::accumulate(budget_.begin(), budget_.end(), int64_t{0});
    std::vector<GrowthScores> all = GrowthScores::competing(setup_.weights, most_dropped(blocks));
    for (const size_t i : weights) scores.push_back(std::move(all[i]));
    return scores;
  }
  for (const size_t i : weights) scores.push_back(growth_scores(i, weight(i)));
  return scores;
}

GrowthScores Method::growth_scores(size_t index, const SparseWeight& here) const {
  const Cells cells_here = cells_of(config(), here);
  return {here, cells_here, std::min(most_candidates(index) / cells(index).count, cells_here.positions)};
}

int64_t Method::most_candidates(size_t index) const {
  const Cells cells = this->cells(index);
  const int64_t blocks = budget_[index] / cells.count;
  // Of several cells any one may drop all.
  const int64_t most = cells.whole() ? most_dropped(blocks) : blocks;
  return cells.count * std::min(most, cells.positions - blocks);
}

RowRange Method::scored_rows(int64_t step, size_t index) const {
  const int64_t parts = config().scoring_steps;
  if (!scored()) return {};
  for (int64_t part = 0; part < parts; ++part)
    if (updates_after(step + parts - 1 - part)) return scored_part(part, index);
  return {};
}

RowRange Method::scored_part(int64_t part, size_t index) const {
  const int64_t parts = config().scoring_steps, rows = weight(index).block_rows();
  return {rows * part / parts * weight(index).block.rows,
          rows * (part + 1) / parts * weight(index).block.rows};
}

std::unique_ptr<Method> make_method(MethodSetup setup) {
  const auto make = kMethodMakers[static_cast<size_t>(setup.config.method)];
  expect(make != nullptr, "[sparsity] expected a method for sparse weights, got \"{}\"",
         name_of(setup.config.method));
  return make(std::move(setup));
}

}  // namespace fern
