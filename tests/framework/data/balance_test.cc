#include "framework/data/balance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "tests/framework/data/fixture.h"

namespace fern {
namespace {

using testing_data::error_of;
using testing_data::mentions;
using testing_data::random_number;

void expect_shares(const std::vector<double>& shares, const std::vector<double>& expected) {
  ASSERT_EQ(shares.size(), expected.size());
  for (size_t i = 0; i < shares.size(); ++i) EXPECT_NEAR(shares[i], expected[i], 1e-12) << i;
}

BalanceRule temperature(double alpha) { return {.kind = BalanceKind::kTemperature, .alpha = alpha}; }
BalanceRule unimax(double epochs) { return {.kind = BalanceKind::kUniMax, .max_epochs = epochs}; }
BalanceRule weights(std::vector<double> values) {
  return {.kind = BalanceKind::kWeights, .weights = std::move(values)};
}

TEST(Balance, TemperatureRaisesSharesToAlpha) {
  expect_shares(balance(temperature(0.5), {1, 4, 9}, 0), {1 / 6.0, 2 / 6.0, 3 / 6.0});
}

TEST(Balance, AlphaOneIsProportionalAndZeroIsEqual) {
  expect_shares(balance(temperature(1), {1, 3}, 0), {0.25, 0.75});
  expect_shares(balance(temperature(0), {1, 1000, 0}, 0), {0.5, 0.5, 0});
}

TEST(Balance, UniMaxWithoutCapsIsEqual) {
  expect_shares(balance(unimax(4), {100, 50, 1000}, 30), {1 / 3.0, 1 / 3.0, 1 / 3.0});
}

// Budget 100 over sizes 1, 10, 1000 with two epochs: 1 gets 2 (cap), then 10 gets 20 (cap; an even share is
// 49), and 1000 gets the 78 left.
TEST(Balance, UniMaxPassesOnWhatCapsLeave) {
  expect_shares(balance(unimax(2), {1000, 1, 10}, 100), {0.78, 0.02, 0.20});
}

// Every language capped: less than the budget is planned, and shares follow the sizes.
TEST(Balance, UniMaxWithAllCappedIsProportional) {
  expect_shares(balance(unimax(1), {1, 3}, 1000), {0.25, 0.75});
}

TEST(Balance, UniMaxNeverExceedsTheCap) {
  for (uint64_t key = 0; key < 200; ++key) {
    std::vector<double> sizes;
    for (uint32_t i = 0; i < 1 + random_number(50, key, 99); ++i)
      sizes.push_back(static_cast<double>(random_number(1000, key, i)) + 1);
    const double total = std::accumulate(sizes.begin(), sizes.end(), 0.0), budget = total * 0.9;
    const std::vector<double> shares = balance(unimax(1.5), sizes, budget);
    EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1.0, 1e-9);
    for (size_t i = 0; i < sizes.size(); ++i) ASSERT_LE(shares[i] * budget, 1.5 * sizes[i] * (1 + 1e-9));
  }
}

TEST(Balance, ExplicitWeightsAreScaledAndEmptyLanguagesGetNone) {
  expect_shares(balance(weights({2, 6, 5}), {10, 10, 0}, 0), {0.25, 0.75, 0});
}

TEST(Balance, RefusesWhatCannotBe) {
  const auto refusal = [](const BalanceRule& rule, const std::vector<double>& sizes, double budget = 1) {
    return error_of([&] { balance(rule, sizes, budget); });
  };
  EXPECT_TRUE(mentions(refusal(temperature(0.3), {}), {"no language has any data"}));
  EXPECT_TRUE(mentions(refusal(temperature(0.3), {0, 0}), {"no language has any data"}));
  EXPECT_TRUE(mentions(refusal(temperature(0.3), {1, -2}), {"got -2 for language 1"}));
  EXPECT_TRUE(mentions(refusal(temperature(1.5), {1}), {"alpha of 0 to 1, got 1.5"}));
  EXPECT_TRUE(mentions(refusal(temperature(std::nan("")), {1}), {"alpha", "got nan"}));
  EXPECT_TRUE(mentions(refusal(unimax(0), {1}), {"max_epochs above 0, got 0"}));
  EXPECT_TRUE(mentions(refusal(unimax(1), {1}, 0), {"budget above 0, got 0"}));
  EXPECT_TRUE(mentions(refusal(weights({1}), {1, 2}), {"2 weights", "got 1"}));
  EXPECT_TRUE(mentions(refusal(weights({1, -1}), {1, 2}), {"got -1 for language 1"}));
  EXPECT_TRUE(mentions(refusal(weights({0, 3}), {1, 0}), {"weight 0"}));
}

}  // namespace
}  // namespace fern
