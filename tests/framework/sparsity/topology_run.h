// A run of topology updates without a model: values and gradients are random numbers of the step.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "framework/core/rng.h"
#include "framework/sparsity/method.h"
#include "tests/framework/sparsity/value_origins.h"

namespace fern::testing {

// Few different numbers when `values` is small, so that ties are frequent.
inline std::vector<float> random_numbers(int64_t count, uint64_t seed, uint64_t values) {
  std::vector<float> numbers(static_cast<size_t>(count));
  for (size_t i = 0; i < numbers.size(); ++i)
    numbers[i] =
        (static_cast<float>(random_below(2 * values, seed, Purpose::kTest, i)) - static_cast<float>(values)) /
        static_cast<float>(values);
  return numbers;
}

struct TopologyRun {
  TopologyRun(MethodSetup setup, uint64_t different_values = 1000)
      : method(make_method(std::move(setup))), different(different_values) {
    for (size_t i = 0; i < weights().size(); ++i) {
      patterns.push_back(method->initial(i));
      values.push_back(random_numbers(patterns.back().nonzeros(), 100 + i, different));
    }
  }

  const std::vector<SparseWeight>& weights() const { return method->setup().weights; }
  std::vector<float> gradient(int64_t step, size_t i) const {
    std::vector<float> gradient = random_numbers(weights()[i].rows * weights()[i].columns,
                                                 1000 * static_cast<uint64_t>(step) + i, different);
    for (float& value : gradient) value *= i == steep ? 1000 : 1;
    return gradient;
  }
  // Of each weight, before the update after `step`.
  std::vector<std::vector<Candidate>> candidates(int64_t step) const {
    std::vector<std::vector<Candidate>> all(weights().size());
    if (!method->scored()) return all;
    std::vector<size_t> weights(all.size());
    std::iota(weights.begin(), weights.end(), size_t{0});
    std::vector<GrowthScores> scores = method->growth_scores(weights);
    for (size_t i = 0; i < all.size(); ++i)
      scores[i].offer_rows(patterns[i], gradient(step, i).data(), 0, this->weights()[i].rows);
    for (size_t i = 0; i < all.size(); ++i) all[i] = scores[i].candidates();
    return all;
  }

  // The update after `step`; weights that are new get random values of their own.
  void update(int64_t step) {
    const std::vector<std::vector<Candidate>> grow = candidates(step);
    std::vector<WeightView> views;
    for (size_t i = 0; i < weights().size(); ++i) views.push_back({patterns[i], values[i], grow[i]});
    changes = method->counts(step, views);
    std::vector<Pattern> after;
    for (size_t i = 0; i < weights().size(); ++i)
      after.push_back(method->next(step, i, views[i], changes[i]));
    for (size_t i = 0; i < weights().size(); ++i) {
      const std::vector<int64_t> origins = value_origins(after[i], patterns[i]);
      std::vector<float> moved =
          random_numbers(after[i].nonzeros(), 77 * static_cast<uint64_t>(step) + i, different);
      for (size_t v = 0; v < moved.size(); ++v)
        if (origins[v] >= 0) moved[v] = values[i][static_cast<size_t>(origins[v])];
      values[i] = std::move(moved);
    }
    patterns = std::move(after);
  }
  // All updates of a run.
  template <typename Visit>
  void run(const Visit& after_update) {
    for (int64_t step = 1; step <= method->setup().train_steps; ++step)
      if (method->updates_after(step)) {
        update(step);
        after_update(step);
      }
  }
  int64_t blocks() const {
    int64_t sum = 0;
    for (const Pattern& pattern : patterns) sum += pattern.blocks();
    return sum;
  }

  std::unique_ptr<Method> method;
  uint64_t different;
  size_t steep = SIZE_MAX;  // the weight whose gradients are a thousand times as large
  std::vector<Pattern> patterns;
  std::vector<std::vector<float>> values;
  std::vector<Change> changes;
};

// 300 steps, an update every 10 until step 225: 22 updates.
inline MethodSetup setup_of(SparsityMethod method, PatternKind pattern, double sparsity = 0.8) {
  MethodSetup setup;
  setup.config.method = method;
  setup.config.pattern = pattern;
  setup.config.sparsity = pattern == PatternKind::kNm ? 0 : sparsity;
  setup.config.block = 4;
  setup.config.interval = 10;
  setup.train_steps = 300;
  setup.seed = 3;
  const int64_t side = setup.config.block_shape().rows;
  for (size_t i = 0; i < 3; ++i) {
    const auto of = [&](uint32_t which) {
      return 4 * (4 + static_cast<int64_t>(random_below(9, 11, Purpose::kTest, i, which)));
    };
    setup.weights.push_back(
        {std::string(i + 1, 'w'), of(0) * side, of(1) * side, setup.config.block_shape()});
  }
  return setup;
}

// How many blocks each cell of the pattern's rule has.
inline std::vector<int64_t> cell_counts(const SparsityConfig& config, const SparseWeight& weight,
                                        const Pattern& pattern) {
  const Cells cells = cells_of(config, weight);
  std::vector<int64_t> counts(static_cast<size_t>(cells.count));
  for (int64_t r = 0; r < pattern.block_rows(); ++r)
    for (const uint16_t c : pattern.row(r))
      ++counts[static_cast<size_t>(cells.of(static_cast<uint64_t>(r * pattern.block_columns() + c)))];
  return counts;
}

// Blocks of `a` that `b` has not.
inline std::vector<uint64_t> difference(const Pattern& a, const Pattern& b) {
  std::vector<uint64_t> positions;
  for (int64_t r = 0; r < a.block_rows(); ++r)
    for (const uint16_t c : a.row(r))
      if (!std::ranges::binary_search(b.row(r), c))
        positions.push_back(static_cast<uint64_t>(r * a.block_columns() + c));
  return positions;
}

}  // namespace fern::testing
