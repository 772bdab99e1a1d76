#include "framework/sparsity/pattern_making.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>

#include "framework/core/error.h"
#include "framework/sparsity/butterfly.h"
#include "framework/sparsity/keyed_sample.h"

namespace fern::testing {
namespace {

SparsityConfig config_of(PatternKind pattern, double sparsity) {
  SparsityConfig config;
  config.method = SparsityMethod::kStatic;
  config.pattern = pattern;
  config.sparsity = sparsity;
  return config;
}

Pattern made(const SparsityConfig& config, const SparseWeight& weight, uint64_t seed = 1) {
  return initial_pattern(config, weight, block_budget(config, std::array{weight})[0], seed);
}

TEST(KeyedSample, DrawsDifferentNumbersInOrder) {
  const auto sample = keyed_sample(5000, 9001, 3, Purpose::kTest, 1);
  EXPECT_EQ(std::set(sample.begin(), sample.end()).size(), 5000u);
  EXPECT_TRUE(std::is_sorted(sample.begin(), sample.end()));
  EXPECT_LT(sample.back(), 9001u);
}

// Chi-squared over the 6 pairs out of 4; 5 degrees of freedom exceed 25.7 once in 10,000.
TEST(KeyedSample, EveryPairOfASmallGroupIsAsLikely) {
  constexpr int kDraws = 12000;
  std::array<int, 16> counts{};
  for (uint64_t key = 0; key < kDraws; ++key) {
    const auto pair = keyed_sample(2, 4, 3, Purpose::kTest, key);
    ++counts[(1u << pair[0]) | (1u << pair[1])];
  }
  double chi_squared = 0;
  for (const size_t pair : {3u, 5u, 6u, 9u, 10u, 12u})
    chi_squared += std::pow(counts[pair] - kDraws / 6, 2) / (kDraws / 6);
  EXPECT_LT(chi_squared, 25.7);
}

TEST(InitialPattern, HasExactlyItsBudget) {
  for (const BlockShape block : {BlockShape{}, {4, 4}, {16, 16}, {3, 5}})
    for (const int64_t blocks : {1, 17, 29 * 31 / 2, 29 * 31}) {
      const SparseWeight weight{"w", 29 * block.rows, 31 * block.columns, block};
      const Pattern pattern = initial_pattern(config_of(PatternKind::kBlock, 0), weight, blocks, 1);
      EXPECT_EQ(pattern.blocks(), blocks);
      EXPECT_EQ(pattern.block(), block);
    }
}

TEST(InitialPattern, DependsOnSeedAndNameOnly) {
  const SparsityConfig config = config_of(PatternKind::kUnstructured, 0.8);
  const SparseWeight a{"a", 40, 50}, b{"b", 40, 50};
  EXPECT_EQ(made(config, a), made(config, a));
  EXPECT_NE(made(config, a), made(config, b));
  EXPECT_NE(made(config, a, 1), made(config, a, 2));
}

TEST(InitialPattern, SpreadsOverRowsAndColumns) {
  const Pattern pattern = made(config_of(PatternKind::kUnstructured, 0.9), {"w", 200, 300});
  std::vector<int> of_column(300);
  for (int64_t r = 0; r < 200; ++r) {
    EXPECT_GT(pattern.row(r).size(), 10u);  // 30 expected, deviation 5.2
    EXPECT_LT(pattern.row(r).size(), 55u);
    for (const uint16_t c : pattern.row(r)) ++of_column[c];
  }
  EXPECT_GT(*std::min_element(of_column.begin(), of_column.end()), 3);  // 20 expected, deviation 4.2
}

TEST(InitialPattern, FanInIsEqualInEveryRow) {
  const Pattern pattern = made(config_of(PatternKind::kFanIn, 0.9), {"w", 37, 53});
  for (int64_t r = 0; r < 37; ++r) EXPECT_EQ(pattern.row(r).size(), 5u);
  EXPECT_FALSE(std::ranges::equal(pattern.row(0), pattern.row(1)));
}

TEST(InitialPattern, NOfMHasNInEveryGroup) {
  SparsityConfig config = config_of(PatternKind::kNm, 0);
  for (const auto& [n, m] : {std::array<int64_t, 2>{2, 4}, {1, 4}, {3, 7}, {4, 4}}) {
    config.n = n;
    config.m = m;
    const Pattern pattern = made(config, {"w", 9, 5 * m});
    for (int64_t r = 0; r < 9; ++r) {
      std::vector<int64_t> of_group(5);
      for (const uint16_t c : pattern.row(r)) ++of_group[static_cast<size_t>(c / m)];
      EXPECT_EQ(of_group, std::vector<int64_t>(5, n));
    }
  }
}

TEST(FlatButterfly, MeetsTheBitsOfItsStrides) {
  const Pattern pattern = flat_butterfly({"w", 8, 8}, 2);
  EXPECT_TRUE(std::ranges::equal(pattern.row(0), std::array<uint16_t, 3>{0, 1, 2}));
  EXPECT_TRUE(std::ranges::equal(pattern.row(6), std::array<uint16_t, 3>{4, 6, 7}));
}

TEST(FlatButterfly, StretchesOverTheLongerSide) {
  const Pattern wide = flat_butterfly({"w", 4, 12}, 1);
  EXPECT_TRUE(std::ranges::equal(wide.row(2), std::array<uint16_t, 6>{6, 7, 8, 9, 10, 11}));
  const Pattern tall = flat_butterfly({"w", 12, 4}, 0);
  for (int64_t r = 0; r < 12; ++r) EXPECT_TRUE(std::ranges::equal(tall.row(r), std::array{r / 3}));
}

TEST(FlatButterfly, CutsSidesThatAreNoPowerOfTwo) {
  const Pattern pattern = flat_butterfly({"w", 6, 6}, 3);
  EXPECT_TRUE(std::ranges::equal(pattern.row(1), std::array<uint16_t, 4>{0, 1, 3, 5}));
  EXPECT_TRUE(std::ranges::equal(pattern.row(2), std::array<uint16_t, 3>{0, 2, 3}));
}

TEST(InitialPattern, ButterflyTakesTheMostStridesThatFit) {
  const SparseWeight weight{"w", 64, 64, {4, 4}};  // 16 x 16 blocks: s strides have 16 (1 + s)
  EXPECT_EQ(made(config_of(PatternKind::kButterfly, 0.8), weight), flat_butterfly(weight, 2));  // 51 blocks
  EXPECT_EQ(made(config_of(PatternKind::kButterfly, 0.5), weight), flat_butterfly(weight, 4));  // 128
  EXPECT_EQ(made(config_of(PatternKind::kButterfly, 0.93), weight), flat_butterfly(weight, 0));
}

TEST(PatternAt, RefusesPositionsOutsideTheMatrix) {
  EXPECT_THROW(pattern_at({"w", 2, 3}, std::array<uint64_t, 1>{6}), Error);
}

}  // namespace
}  // namespace fern::testing
