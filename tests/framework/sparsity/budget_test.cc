#include "framework/sparsity/budget.h"

#include <cmath>
#include <numeric>

#include "framework/core/rng.h"
#include "tests/framework/sparsity/expect_usage.h"

namespace fern::testing {
namespace {

SparsityConfig config_of(double sparsity, Distribution distribution = Distribution::kUniform) {
  SparsityConfig config;
  config.method = SparsityMethod::kStatic;
  config.sparsity = sparsity;
  config.distribution = distribution;
  return config;
}

int64_t sum(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

// Weights of random shapes; every side is a multiple of the block's.
std::vector<SparseWeight> random_weights(uint64_t seed, BlockShape block) {
  std::vector<SparseWeight> weights;
  const auto side = [&](size_t i, uint32_t which) {
    return 1 + static_cast<int64_t>(random_below(60, seed, Purpose::kTest, i, which));
  };
  for (size_t i = 0; i < 7; ++i)
    weights.push_back(
        {std::string(i + 1, 'w'), (side(i, 0) + 20) * block.rows, (side(i, 1) + 20) * block.columns, block});
  return weights;
}

TEST(BlockBudget, TotalIsTheRoundedBudget) {
  for (const BlockShape block : {BlockShape{}, {4, 4}, {8, 2}})
    for (const auto distribution : {Distribution::kUniform, Distribution::kErdosRenyi})
      for (const double sparsity : {0.0, 0.123, 0.5, 0.9, 0.97})
        for (uint64_t seed = 0; seed < 20; ++seed) {
          const auto weights = random_weights(seed, block);
          double all = 0;
          for (const SparseWeight& weight : weights) all += static_cast<double>(weight.blocks());
          const auto counts = block_budget(config_of(sparsity, distribution), weights);
          EXPECT_EQ(sum(counts), std::llround((1 - sparsity) * all));
          for (size_t i = 0; i < weights.size(); ++i) {
            EXPECT_GT(counts[i], 0);
            EXPECT_LE(counts[i], weights[i].blocks());
          }
        }
}

TEST(BlockBudget, UniformGivesEqualDensities) {
  const std::vector<SparseWeight> weights = {{"a", 100, 100}, {"b", 10, 50}};
  EXPECT_EQ(block_budget(config_of(0.9), weights), (std::vector<int64_t>{1000, 50}));
}

TEST(BlockBudget, RemaindersGoToTheLargestFirst) {
  const std::vector<SparseWeight> weights = {{"a", 1, 13}, {"b", 1, 17}, {"c", 1, 10}};  // 1.3, 1.7, 1
  EXPECT_EQ(block_budget(config_of(0.9), weights), (std::vector<int64_t>{1, 2, 1}));
}

// Weights that exist are in the ratio of rows + columns: 200 to 500.
TEST(BlockBudget, ErdosRenyiFollowsTheSumOfSides) {
  const std::vector<SparseWeight> weights = {{"a", 100, 100}, {"b", 400, 100}};
  const auto counts = block_budget(config_of(0.9, Distribution::kErdosRenyi), weights);
  EXPECT_EQ(counts, (std::vector<int64_t>{1429, 3571}));
  EXPECT_EQ(block_budget(config_of(0.9, Distribution::kErdosRenyiKernel), weights), counts);
}

TEST(BlockBudget, ErdosRenyiFillsAWeightAndSharesTheRest) {
  const std::vector<SparseWeight> weights = {{"tiny", 2, 2}, {"a", 100, 100}, {"b", 100, 100}};
  const auto counts = block_budget(config_of(0.5, Distribution::kErdosRenyi), weights);
  EXPECT_EQ(counts, (std::vector<int64_t>{4, 4999, 4999}));
}

TEST(BlockBudget, LayersHaveSparsitiesOfTheirOwn) {
  SparsityConfig config = config_of(0.9);
  config.layer_names = {"layers.1", "q_proj"};
  config.layer_sparsities = {0.5, 0.2};
  const std::vector<SparseWeight> weights = {
      {"layers.0.q_proj", 10, 10}, {"layers.1.q_proj", 10, 10}, {"layers.10.k_proj", 10, 10}};
  EXPECT_EQ(block_budget(config, weights), (std::vector<int64_t>{80, 50, 10}));
}

TEST(BlockBudget, FanInIsEqualInEveryRow) {
  SparsityConfig config = config_of(0.9);
  config.pattern = PatternKind::kFanIn;
  const std::vector<SparseWeight> weights = {{"a", 7, 33}, {"b", 5, 50}};
  EXPECT_EQ(block_budget(config, weights), (std::vector<int64_t>{7 * 3, 5 * 5}));
}

TEST(BlockBudget, NOfMFixesTheDensity) {
  SparsityConfig config = config_of(0);
  config.pattern = PatternKind::kNm;
  config.n = 3;
  config.m = 8;
  const std::vector<SparseWeight> weights = {{"a", 7, 32}};
  EXPECT_EQ(block_budget(config, weights), (std::vector<int64_t>{7 * 4 * 3}));
  EXPECT_EQ(block_budget(config, weights, 0), (std::vector<int64_t>{7 * 32}));
  EXPECT_EQ(block_budget(config, weights, 0.5), (std::vector<int64_t>{7 * 4 * 6}));  // 5.5 of 8
}

TEST(BlockBudget, FollowsTheWayFromTheInitialSparsity) {
  SparsityConfig config = config_of(0.9);
  config.initial_sparsity = 0.1;
  const std::vector<SparseWeight> weights = {{"a", 10, 10}};
  EXPECT_EQ(block_budget(config, weights, 0)[0], 90);
  EXPECT_EQ(block_budget(config, weights, 0.5)[0], 50);
  EXPECT_EQ(block_budget(config, weights, 1)[0], 10);
}

TEST(BlockBudget, RefusesAWeightLeftWithNothing) {
  const std::vector<SparseWeight> weights = {{"large", 1000, 1000}, {"small", 2, 3}};
  expect_usage([&] { block_budget(config_of(0.99), weights); },
               "sparsity.sparsity = 0.99: small is 2 x 3 in blocks of 1 x 1 and gets 0.06 of its 6 blocks");
  SparsityConfig butterfly = config_of(0.9);
  butterfly.pattern = PatternKind::kButterfly;
  expect_usage(
      [&] {
        block_budget(butterfly, std::vector<SparseWeight>{{"w", 32, 32, {16, 16}}});
      },
      "sparsity.sparsity = 0.9: w is 32 x 32 in blocks of 16 x 16");
}

TEST(BlockBudget, RefusesBlocksLargerThanTheMatrix) {
  expect_usage(
      [&] {
        block_budget(config_of(0.5), std::vector<SparseWeight>{{"w", 8, 64, {16, 16}}});
      },
      "sparsity.block: blocks of 16 x 16 do not divide a weight matrix of 8 x 64; square blocks of 1, "
      "2, 4, 8 do");
}

TEST(BlockBudget, RefusesMoreBlocksThanPositionsCanNumber) {
  expect_usage(
      [&] {
        block_budget(config_of(0.9), std::vector<SparseWeight>{{"w", 65536, 65536}});
      },
      "w: expected fewer than 4294967295 blocks, got 4294967296");
}

TEST(BlockBudget, RefusesGroupsThatDoNotDivideARow) {
  SparsityConfig config = config_of(0);
  config.pattern = PatternKind::kNm;
  expect_usage(
      [&] {
        block_budget(config, std::vector<SparseWeight>{{"w", 8, 30}});
      },
      "sparsity.m = 4: expected a divisor of the 30 columns of w");
}

TEST(BlockBudget, RefusesLayersThatAreNotThere) {
  SparsityConfig config = config_of(0.5);
  config.layer_names = {"q"};
  config.layer_sparsities = {0.5};
  expect_usage(
      [&] {
        block_budget(config, std::vector<SparseWeight>{{"layers.0.q_proj", 8, 30}});
      },
      "such as layers.0.q_proj, got \"q\"");
}

}  // namespace
}  // namespace fern::testing
