// Streamed choices against sorting the scores of all blocks.
#include "framework/sparsity/growth_scores.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <limits>

#include "framework/core/error.h"
#include "framework/core/rng.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Few different values, so that ties are frequent; sums of them are exact.
std::vector<float> gradient_of(int64_t rows, int64_t columns, uint64_t seed, uint64_t values = 9) {
  std::vector<float> gradient(static_cast<size_t>(rows * columns));
  for (size_t i = 0; i < gradient.size(); ++i)
    gradient[i] =
        static_cast<float>(random_below(2 * values, seed, Purpose::kTest, i)) - static_cast<float>(values);
  return gradient;
}

// Sorts all: by cell, then score, then position; keeps `per_cell` of each.
std::vector<Candidate> sorted_best(const SparseWeight& weight, Cells cells, int64_t per_cell,
                                   const Pattern& existing, const std::vector<float>& gradient) {
  std::vector<Candidate> all;
  for (int64_t r = 0; r < weight.block_rows(); ++r)
    for (int64_t c = 0; c < weight.block_columns(); ++c) {
      if (std::ranges::binary_search(existing.row(r), static_cast<uint16_t>(c))) continue;
      float score = 0;
      for (int64_t i = 0; i < weight.block.rows; ++i)
        for (int64_t j = 0; j < weight.block.columns; ++j)
          score += std::abs(gradient[static_cast<size_t>((r * weight.block.rows + i) * weight.columns +
                                                         c * weight.block.columns + j)]);
      all.push_back({score, static_cast<uint64_t>(r * weight.block_columns() + c)});
    }
  std::ranges::stable_sort(all, [&](const Candidate& a, const Candidate& b) {
    const int64_t cell_a = cells.of(a.position), cell_b = cells.of(b.position);
    return cell_a != cell_b ? cell_a < cell_b : a.score > b.score;
  });
  std::vector<Candidate> best;
  int64_t cell = -1, kept = 0;
  for (const Candidate& candidate : all) {
    if (cells.of(candidate.position) != cell) kept = 0;
    cell = cells.of(candidate.position);
    if (kept++ < per_cell) best.push_back(candidate);
  }
  return best;
}

struct Case {
  SparseWeight weight;
  Cells cells;
  int64_t per_cell;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const BlockShape block : {BlockShape{}, {4, 4}, {3, 5}, {16, 16}}) {
    const SparseWeight weight{"w", 13 * block.rows, 37 * block.columns, block};
    for (const int64_t k : {0, 1, 7, 40, 150, 481, 1000}) all.push_back({weight, {1, 13 * 37}, k});
  }
  all.push_back({{"w", 13, 37}, {13, 37}, 5});
  all.push_back({{"w", 13, 36}, {13 * 9, 4}, 2});
  all.push_back({{"w", 300, 700}, {1, 300 * 700}, 6000});
  return all;
}

// In tiles of rows, as they come in training.
GrowthScores scored(const Case& c, const Pattern& existing, const std::vector<float>& gradient,
                    int64_t tile_blocks) {
  GrowthScores scores(c.weight, c.cells, c.per_cell);
  const int64_t step = tile_blocks * c.weight.block.rows;
  for (int64_t row = 0; row < c.weight.rows; row += step)
    scores.offer_rows(existing, gradient.data() + row * c.weight.columns, row,
                      std::min(row + step, c.weight.rows));
  return scores;
}

TEST(GrowthScores, ChoosesWhatSortingAllChooses) {
  for (const Case& c : cases())
    for (const int64_t tile : {1, 4, 1000})
      for (const uint64_t values : {2, 9, 10000}) {
        const Pattern existing = random_pattern(c.weight.rows, c.weight.columns, c.weight.block, 0.3, 5);
        const auto gradient = gradient_of(c.weight.rows, c.weight.columns, 6, values);
        EXPECT_EQ(scored(c, existing, gradient, tile).candidates(),
                  sorted_best(c.weight, c.cells, c.per_cell, existing, gradient))
            << c.weight.rows << " x " << c.weight.columns << ", " << c.per_cell << " of " << c.cells.count;
      }
}

TEST(GrowthScores, DoesNotDependOnThreads) {
  const Case c = cases().back();
  const Pattern existing = random_pattern(c.weight.rows, c.weight.columns, {}, 0.3, 5);
  const auto gradient = gradient_of(c.weight.rows, c.weight.columns, 6);
  const int before = omp_get_max_threads();
  std::vector<std::vector<uint64_t>> states;
  for (const int threads : {1, 2, 3, 8}) {
    omp_set_num_threads(threads);
    states.push_back(scored(c, existing, gradient, 100).state());
  }
  omp_set_num_threads(before);
  for (const auto& state : states) EXPECT_EQ(state, states[0]);
}

TEST(GrowthScores, WhatIsNotANumberComesLast) {
  for (const int64_t cell_positions : {4, 8}) {  // a row, or the whole weight
    const SparseWeight weight{"w", 2, 4};
    const Cells cells{8 / cell_positions, cell_positions};
    GrowthScores scores(weight, cells, 3);
    const std::vector<float> gradient = {kNan, 0, -std::numeric_limits<float>::infinity(), kNan};
    scores.offer_rows(Pattern(2, 4, {}, {0, 0, 0}, {}), gradient.data(), 0, 1);
    const auto candidates = scores.candidates();
    ASSERT_EQ(candidates.size(), 3u);
    EXPECT_EQ(candidates[0].position, 2u);
    EXPECT_EQ(candidates[1].position, 1u);
    EXPECT_EQ(candidates[2].position, 0u);
    EXPECT_TRUE(std::isnan(candidates[2].score));
  }
}

struct Competition {
  std::vector<SparseWeight> weights = {{"a", 13, 37}, {"b", 300, 700}, {"c", 40, 20}};
  std::vector<Pattern> existing;
  std::vector<std::vector<float>> gradients;

  // Gradients of the middle weight are `factor` times as large.
  explicit Competition(float factor) {
    for (size_t i = 0; i < weights.size(); ++i) {
      existing.push_back(random_pattern(weights[i].rows, weights[i].columns, {}, 0.3, 5 + i));
      gradients.push_back(gradient_of(weights[i].rows, weights[i].columns, 6 + i));
    }
    for (float& value : gradients[1]) value *= factor;
  }
  void offer(std::vector<GrowthScores>& scores, int64_t first_tenth, int64_t last_tenth) const {
    for (size_t i = 0; i < scores.size(); ++i) {
      const int64_t first = weights[i].rows * first_tenth / 10, last = weights[i].rows * last_tenth / 10;
      scores[i].offer_rows(existing[i], gradients[i].data() + first * weights[i].columns, first, last);
    }
  }
  // The best of each among the `count` best of all.
  std::vector<std::vector<Candidate>> sorted(int64_t count) const {
    std::vector<std::pair<size_t, Candidate>> all;
    for (size_t i = 0; i < weights.size(); ++i)
      for (const Candidate& candidate :
           sorted_best(weights[i], {1, weights[i].blocks()}, weights[i].blocks(), existing[i], gradients[i]))
        all.push_back({i, candidate});
    std::ranges::stable_sort(all, std::greater<>(), [](const auto& entry) { return entry.second.score; });
    std::vector<std::vector<Candidate>> best(weights.size());
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) best[all[i].first].push_back(all[i].second);
    return best;
  }
};

TEST(GrowthScores, WeightsThatCompeteKeepTheBestOfAll) {
  for (const float factor : {1.0F, 1000.0F})
    for (const int64_t count : {0, 100, 5000, 100000}) {
      const Competition competition(factor);
      std::vector<GrowthScores> scores = GrowthScores::competing(competition.weights, count);
      competition.offer(scores, 0, 4);
      competition.offer(scores, 4, 10);
      const auto sorted = competition.sorted(count);
      for (size_t i = 0; i < scores.size(); ++i) EXPECT_EQ(scores[i].candidates(), sorted[i]) << factor << i;
    }
}

TEST(GrowthScores, WeightsThatCompeteRestoreInTheMiddle) {
  const Competition competition(2);
  std::vector<GrowthScores> first = GrowthScores::competing(competition.weights, 5000),
                            second = GrowthScores::competing(competition.weights, 5000);
  competition.offer(first, 0, 5);
  for (size_t i = 0; i < first.size(); ++i) second[i].restore(first[i].state());
  competition.offer(second, 5, 10);
  const auto sorted = competition.sorted(5000);
  for (size_t i = 0; i < second.size(); ++i) EXPECT_EQ(second[i].candidates(), sorted[i]) << i;
}

TEST(GrowthScores, MemoryThatIsSharedIsCountedOnce) {
  const Competition competition(1);
  const std::vector<GrowthScores> scores = GrowthScores::competing(competition.weights, 5000);
  size_t bytes = 0;
  for (const GrowthScores& part : scores) bytes += part.bytes();
  EXPECT_EQ(bytes, 2 * 5000 * sizeof(uint64_t));
}

TEST(TopK, ACopyKeepsTheBest) {
  const TopK original(100);
  TopK copy = original;
  for (uint64_t i = 1; i <= 5000; ++i) copy.offer(i);
  ASSERT_EQ(copy.best().size(), 100u);
  EXPECT_EQ(copy.best().front(), 5000u);
  EXPECT_EQ(copy.best().back(), 4901u);
}

TEST(GrowthScores, RestoresInTheMiddle) {
  for (const Case& c : cases()) {
    const Pattern existing = random_pattern(c.weight.rows, c.weight.columns, c.weight.block, 0.3, 5);
    const auto gradient = gradient_of(c.weight.rows, c.weight.columns, 6);
    const int64_t middle = 6 * c.weight.block.rows;
    GrowthScores first(c.weight, c.cells, c.per_cell), second(c.weight, c.cells, c.per_cell);
    first.offer_rows(existing, gradient.data(), 0, middle);
    second.restore(first.state());
    second.offer_rows(existing, gradient.data() + middle * c.weight.columns, middle, c.weight.rows);
    EXPECT_EQ(second.state(), scored(c, existing, gradient, 100).state());
    second.clear();
    EXPECT_TRUE(second.state().empty());
  }
}

TEST(GrowthScores, RefusesAStateThatIsNotItsOwn) {
  GrowthScores whole({"w", 2, 4}, {1, 8}, 2), rows({"w", 2, 4}, {2, 4}, 1);
  EXPECT_THROW(whole.restore(std::vector{worth_of(1, 8)}), Error);
  EXPECT_THROW(whole.restore(std::vector{worth_of(3, 0), worth_of(2, 1), worth_of(1, 2)}), Error);
  EXPECT_THROW(rows.restore(std::vector{worth_of(3, 0), worth_of(2, 1)}), Error);
  EXPECT_NO_THROW(rows.restore(std::vector{worth_of(3, 0), worth_of(2, 4)}));
}

TEST(GrowthScores, RefusesPartsOfBlocks) {
  GrowthScores scores({"w", 8, 8, {4, 4}}, {1, 4}, 2);
  const std::vector<float> gradient(64);
  EXPECT_THROW(scores.offer_rows(Pattern::full(8, 8, {4, 4}), gradient.data(), 2, 4), Error);
  EXPECT_THROW(scores.offer_rows(Pattern::full(8, 8, {2, 2}), gradient.data(), 0, 4), Error);
}

}  // namespace
}  // namespace fern::testing
