// What shares of a weight tell, put together, against one process that has all of it.
#include "framework/train/weight_shares.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "framework/core/error.h"
#include "framework/model/matrix_share.h"
#include "framework/train/topology_metrics.h"
#include "tests/framework/sparsity/random_pattern.h"
#include "tests/framework/sparsity/topology_run.h"

namespace fern {
namespace {

constexpr int64_t kRows = 24, kColumns = 36;

struct Case {
  PatternKind pattern;
  int dimension;
  int64_t ranks;
};

const std::vector<Case> kCases = {{PatternKind::kUnstructured, 0, 3}, {PatternKind::kUnstructured, 1, 2},
                                  {PatternKind::kUnstructured, 1, 5}, {PatternKind::kBlock, 0, 2},
                                  {PatternKind::kBlock, 1, 3},        {PatternKind::kFanIn, 0, 3},
                                  {PatternKind::kFanIn, 1, 2},        {PatternKind::kFanIn, 1, 5},
                                  {PatternKind::kNm, 0, 5},           {PatternKind::kNm, 1, 3}};

std::unique_ptr<Method> method_of(PatternKind pattern) {
  SparsityConfig config;
  config.method = SparsityMethod::kRigl;
  config.pattern = pattern;
  config.block = 4;
  config.sparsity = pattern == PatternKind::kNm ? 0 : 0.6;
  const SparseWeight weight = {"w", kRows, kColumns, config.block_shape()};
  return make_method({.config = config, .weights = {weight}, .train_steps = 1000, .seed = 3});
}

std::vector<float> columns_of(const std::vector<float>& whole, const Parameter& share) {
  std::vector<float> part;
  const SharePlace place(share);
  for (int64_t row = 0; row < share.shape[0]; ++row)
    for (int64_t column = 0; column < share.shape[1]; ++column)
      part.push_back(whole[static_cast<size_t>(place.in_whole(row, column))]);
  return part;
}

// Scores have many ties, so the order of equal ones counts.
class WeightShares : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const SparseWeight& weight = method->setup().weights[0];
    const std::vector<float> gradient = testing::random_numbers(kRows * kColumns, 7, 5);
    GrowthScores scores = method->growth_scores(0, weight);
    scores.offer_rows(pattern, gradient.data(), 0, kRows);
    EverActive ever(kRows, kColumns, weight.block);
    ever.add(pattern);
    ever.add(testing::random_pattern(kRows, kColumns, weight.block, 0.2, 9));
    whole = {.pattern = pattern, .scores = scores.state(), .ever_active = ever.bits()};
    for (int64_t i = 0; i < pattern.nonzeros(); ++i)
      whole.generation.push_back(static_cast<uint16_t>(i * 7 % 65536));
    const Parameter parameter = {.name = "w", .shape = {kRows, kColumns}, .nonzeros = kRows * kColumns};
    shares = shares_of(parameter, GetParam().dimension, GetParam().ranks);
    for (const Parameter& share : shares) records.push_back(record_of_share(share, gradient));
  }

  WeightRecord record_of_share(const Parameter& share, const std::vector<float>& gradient) const {
    const SparseWeight here = {"w", share.shape[0], share.shape[1], pattern.block()};
    WeightRecord record = {.pattern = share_of(pattern, share)};
    GrowthScores scores = method->growth_scores(0, here);
    scores.offer_rows(record.pattern, columns_of(gradient, share).data(), 0, here.rows);
    record.scores = scores.state();
    record.generation.resize(static_cast<size_t>(record.pattern.nonzeros()));
    take_share<uint16_t>(record.generation, whole.generation, share, pattern);
    record.ever_active = ever_active_of_share(whole.ever_active, share, pattern.block());
    return record;
  }

  std::unique_ptr<Method> method = method_of(GetParam().pattern);
  Pattern pattern = method->initial(0);
  WeightRecord whole;
  std::vector<Parameter> shares;
  std::vector<WeightRecord> records;
};

INSTANTIATE_TEST_SUITE_P(Cuts, WeightShares, ::testing::ValuesIn(kCases), [](const auto& info) {
  return fmt::format("{}_{}_{}", name_of(info.param.pattern), info.param.dimension == 0 ? "rows" : "columns",
                     info.param.ranks);
});

TEST_P(WeightShares, JoinToWhatOneProcessHas) {
  ASSERT_FALSE(whole.scores.empty());
  EXPECT_EQ(joined(*method, 0, shares, records), whole);
}

TEST_P(WeightShares, ThereAreNoGenerationsScoresOrPatternsWhereSharesTellNone) {
  for (WeightRecord& record : records) record = {.pattern = record.pattern};
  EXPECT_EQ(joined(*method, 0, shares, records), WeightRecord{.pattern = pattern});
  EXPECT_EQ(joined(*method, 0, shares, std::vector<WeightRecord>(shares.size())), WeightRecord());
}

// Shares that go on from what one process had kept come to the same: each has its part of it.
TEST_P(WeightShares, WhatOneProcessKeptIsSharedOutAgain) {
  size_t scores = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    records[i].scores = scores_of_share(whole.scores, shares[i], pattern.block());
    scores += records[i].scores.size();
    GrowthScores restored =
        method->growth_scores(0, {"w", shares[i].shape[0], shares[i].shape[1], pattern.block()});
    restored.restore(records[i].scores);
    EXPECT_EQ(restored.state(), records[i].scores);
  }
  EXPECT_EQ(scores, whole.scores.size());
  EXPECT_EQ(joined(*method, 0, shares, records), whole);
}

TEST_P(WeightShares, WhatIsOfAnotherMatrixIsRefused) {
  const auto blocks = static_cast<uint64_t>(kRows * kColumns / pattern.block().elements());
  EXPECT_THROW(scores_of_share(std::vector<uint64_t>{worth_of(1, blocks)}, shares[0], pattern.block()),
               Error);
  whole.ever_active.push_back(1);
  EXPECT_THROW(ever_active_of_share(whole.ever_active, shares[0], pattern.block()), Error);
}

}  // namespace
}  // namespace fern
