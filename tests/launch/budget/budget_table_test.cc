#include "launch/budget/budget_table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace fern {
namespace {

std::vector<ArmResult> two_arms() {
  return {
      {.arm = "dense_small", .seed = 1, .weights = 1000, .steps = 10, .flops = 2e9, .macro = 2.0},
      {.arm = "rigl", .seed = 1, .weights = 990, .steps = 10, .flops = 3e9, .macro = 1.5},
      {.arm = "dense_small", .seed = 2, .weights = 1000, .steps = 10, .flops = 2e9, .macro = 4.0},
      {.arm = "rigl", .seed = 2, .weights = 990, .steps = 10, .flops = 5e9, .macro = 3.3},
  };
}

TEST(BudgetTable, SpreadsAreSampleDeviations) {
  const double values[] = {1, 2, 3};
  const Spread spread = spread_of(values);
  EXPECT_EQ(spread.mean, 2);
  EXPECT_EQ(spread.deviation, 1);
  EXPECT_EQ(spread_of(std::span(values).first(1)).deviation, 0);
}

TEST(BudgetTable, AveragesEachArmOverItsSeeds) {
  const std::vector<ArmSummary> arms = summarize(two_arms());
  ASSERT_EQ(arms.size(), 2u);
  EXPECT_EQ(arms[1].arm, "rigl");
  EXPECT_EQ(arms[1].seeds, 2);
  EXPECT_EQ(arms[1].flops, 4e9);
  EXPECT_DOUBLE_EQ(arms[1].macro.mean, 2.4);
}

TEST(BudgetTable, ComparesRunsOfEqualSeed) {
  const std::vector<ArmSummary> arms = summarize(two_arms());
  EXPECT_DOUBLE_EQ(arms[1].against_first.mean, -0.6);
  EXPECT_NEAR(arms[1].against_first.deviation, 0.1 * std::sqrt(2.0), 1e-12);
}

TEST(BudgetTable, PrintsALineForEachArm) {
  const std::string text = table_text("Title", summarize(two_arms()));
  EXPECT_NE(text.find("| rigl"), std::string::npos) << text;
  EXPECT_NE(text.find("2.400 ± 1.273"), std::string::npos) << text;
  EXPECT_NE(text.find("-0.600 ± 0.141"), std::string::npos) << text;
}

}  // namespace
}  // namespace fern
