#include "framework/sparsity/csr_view.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

#include "tests/framework/sparsity/random_pattern.h"

namespace fern {
namespace {

struct Weight {
  int64_t output, input;
  uint32_t place;  // among the values
  auto operator<=>(const Weight&) const = default;
};

// The weights that the runs hold, in their order. Fails where a cell's runs are not as csr_kernels.h has
// them.
std::vector<Weight> weights_of(const CsrRuns& w) {
  std::vector<Weight> weights;
  EXPECT_LE(w.group_outputs, kCsrOutputs);  // room for sums is for so many
  for (int64_t cell = 0; cell < w.groups * w.bands; ++cell) {
    const int64_t group = cell / w.bands, band = cell % w.bands;
    std::set<int64_t> outputs;
    uint32_t next = w.first_weight != nullptr ? w.first_weight[cell] : 0;
    for (uint32_t r = w.first_run[cell]; r < w.first_run[cell + 1]; ++r) {
      const CsrRun& run = w.runs[r];
      EXPECT_LT(run.output, w.group_outputs);
      EXPECT_TRUE(outputs.insert(run.output).second);
      if (r > w.first_run[cell]) {
        EXPECT_GE(run.count, w.runs[r - 1].count);
      }
      if (band > 0) {
        EXPECT_GT(run.count, 0);
      }
      const uint32_t begin = w.first_weight != nullptr ? next : run.begin;
      next += run.count;
      for (uint32_t i = begin; i < begin + run.count; ++i)
        weights.push_back({group * w.group_outputs + run.output, w.origin[band] + w.index[i], i});
    }
    const int64_t in_group = std::min(w.group_outputs, w.outputs - group * w.group_outputs);
    if (band == 0) {
      EXPECT_EQ(static_cast<int64_t>(outputs.size()), in_group);
    }
  }
  return weights;
}

class CsrViews : public ::testing::TestWithParam<std::tuple<int64_t, int64_t, double>> {
 protected:
  CsrViews() {
    const auto& [rows, columns, density] = GetParam();
    pattern_ = testing::random_pattern(rows, columns, {1, 1}, density, 3);
    for (int64_t row = 0; row < pattern_.rows(); ++row)
      for (const uint16_t column : pattern_.row(row))
        wanted_.push_back({row, column, static_cast<uint32_t>(wanted_.size())});
    for (const Weight& weight : wanted_) values_.push_back(static_cast<float>(weight.place));
  }
  Pattern pattern_;
  std::vector<Weight> wanted_;  // row by row
  std::vector<float> values_;   // their places
};

TEST_P(CsrViews, HoldEveryWeightOnceShorterRunsFirst) {
  const CsrView view(pattern_);
  std::vector<Weight> weights = weights_of(view.runs());
  std::sort(weights.begin(), weights.end());
  EXPECT_EQ(weights, wanted_);
}

// Runs whose weights are one after another, and what arrange() made of values that count from 0: each weight
// with its place in the pattern's order.
std::vector<Weight> original(const CsrRuns& runs, const std::vector<float>& arranged) {
  std::vector<Weight> weights = weights_of(runs);
  uint32_t next = 0;
  for (Weight& weight : weights) {
    EXPECT_EQ(weight.place, next++);
    weight.place = static_cast<uint32_t>(arranged[weight.place]);
  }
  return weights;
}

TEST_P(CsrViews, TakeColumnsAndValuesAlongInTheOrderOfTheRuns) {
  const CsrView view(pattern_);
  std::vector<uint16_t> columns(wanted_.size());
  std::vector<float> arranged(wanted_.size()), back(wanted_.size(), 1);
  view.arrange(columns.data(), arranged.data(), values_.data());
  std::vector<uint16_t> alone(columns.size());
  view.arrange(alone.data());
  EXPECT_EQ(alone, columns);
  const CsrRuns runs = view.runs(columns.data());
  std::vector<Weight> weights = original(runs, arranged);
  std::sort(weights.begin(), weights.end());
  EXPECT_EQ(weights, wanted_);
  for (int64_t cell = 0; cell < runs.groups * runs.bands; ++cell)
    view.add_arranged(back.data(), arranged.data(), cell);
  for (size_t i = 0; i < back.size(); ++i) EXPECT_EQ(back[i], values_[i] + 1);
}

TEST_P(CsrViews, TransposedTakeRowsAndValuesAlong) {
  const TransposedCsrView view(pattern_);
  std::vector<float> arranged(wanted_.size());
  view.arrange(arranged.data(), values_.data());
  std::vector<Weight> weights = original(view.runs(), arranged);
  for (Weight& weight : weights) std::swap(weight.output, weight.input);
  std::sort(weights.begin(), weights.end());
  EXPECT_EQ(weights, wanted_);
}

INSTANTIATE_TEST_SUITE_P(Shapes, CsrViews,
                         ::testing::Values(std::tuple(1, 1, 1.0), std::tuple(5, 700, 0.3),
                                           std::tuple(700, 5, 0.3), std::tuple(600, 530, 0.1),
                                           std::tuple(600, 530, 0.0), std::tuple(1100, 300, 0.05)));

// 64 rows of 1024 weights are as many as 16 bits number, those of 1100 more.
TEST(TransposedCsrView, BandsHaveAtMostTwoToTheSixteenWeights) {
  EXPECT_EQ(TransposedCsrView(Pattern::full(128, 1024)).runs().bands, 2);
  EXPECT_EQ(TransposedCsrView(Pattern::full(128, 1100)).runs().bands, 3);
  for (const int64_t columns : {1024, 1100}) {
    const TransposedCsrView view(Pattern::full(128, columns));
    std::vector<float> values(static_cast<size_t>(128 * columns)), arranged(values.size());
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    view.arrange(arranged.data(), values.data());
    for (const Weight& weight : original(view.runs(), arranged))
      ASSERT_EQ(weight.place, weight.input * columns + weight.output);
  }
}

TEST(CsrView, MayHaveNoWeightsAndNoRows) {
  for (const Pattern& pattern : {Pattern(600, 530, {1, 1}, std::vector<int64_t>(601, 0), {}), Pattern()}) {
    EXPECT_TRUE(weights_of(CsrView(pattern).runs()).empty());
    EXPECT_TRUE(weights_of(TransposedCsrView(pattern).runs()).empty());
  }
}

}  // namespace
}  // namespace fern
