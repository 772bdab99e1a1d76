#include "framework/model/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "framework/core/error.h"

namespace fern {
namespace {

// Logits of the probabilities 0.5, 0.3, 0.15, 0.05.
std::vector<float> logits() { return {std::log(0.15f), std::log(0.5f), std::log(0.05f), std::log(0.3f)}; }

TEST(Sampling, GreedyTakesTheLargestAndTheLowestIdOnTies) {
  EXPECT_EQ(sample(logits(), {.temperature = 0}, 0), 1);
  const std::vector<float> ties = {0, 2, 2};
  EXPECT_EQ(sample(ties, {.temperature = 0}, 0), 1);
}

TEST(Sampling, FrequenciesFollowTheProbabilities) {
  std::vector<int> counts(4, 0);
  constexpr int kDraws = 20000;
  for (uint64_t i = 0; i < kDraws; ++i)
    ++counts[static_cast<size_t>(sample(logits(), {.temperature = 1}, i))];
  EXPECT_NEAR(counts[0] / double{kDraws}, 0.15, 0.015);
  EXPECT_NEAR(counts[1] / double{kDraws}, 0.50, 0.015);
  EXPECT_NEAR(counts[2] / double{kDraws}, 0.05, 0.015);
  EXPECT_NEAR(counts[3] / double{kDraws}, 0.30, 0.015);
}

TEST(Sampling, TopPKeepsTheFewestThatReachIt) {
  std::set<int32_t> seen;
  for (uint64_t i = 0; i < 2000; ++i) seen.insert(sample(logits(), {.temperature = 1, .top_p = 0.75}, i));
  EXPECT_EQ(seen, (std::set<int32_t>{1, 3}));
}

TEST(Sampling, SameSeedAndPositionGiveTheSameToken) {
  int moved = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    const SamplingConfig config{.temperature = 1.5, .top_p = 1, .seed = 3};
    EXPECT_EQ(sample(logits(), config, i), sample(logits(), config, i));
    moved += sample(logits(), config, i) != sample(logits(), {.temperature = 1.5, .top_p = 1, .seed = 4}, i);
  }
  EXPECT_GT(moved, 50);
}

TEST(Sampling, ImpossibleSettingsAreRefused) {
  EXPECT_THROW(validate(SamplingConfig{.temperature = -1}), Error);
  EXPECT_THROW(validate(SamplingConfig{.temperature = NAN}), Error);
  EXPECT_THROW(validate(SamplingConfig{.top_p = 0}), Error);
  EXPECT_THROW(validate(SamplingConfig{.top_p = 1.1}), Error);
}

}  // namespace
}  // namespace fern
