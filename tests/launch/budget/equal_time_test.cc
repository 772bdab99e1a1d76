#include "launch/budget/equal_time.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "framework/core/error.h"

namespace fern {
namespace {

using Steps = std::map<std::string, int64_t>;

std::filesystem::path fresh_file() {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) /
      (std::string("equal-time-") + testing::UnitTest::GetInstance()->current_test_info()->name());
  std::filesystem::remove_all(folder);
  return folder / "steps.json";
}

ArmSummary arm_of(std::string name, double train_s) {
  ArmSummary arm;
  arm.arm = std::move(name);
  arm.steps = 100;
  arm.train_s = train_s;
  return arm;
}

Recipe recipe_of(SparsityMethod method) {
  Recipe recipe;
  recipe.train.steps = recipe.schedule.steps = 100;
  recipe.schedule.warmup_steps = 40;
  recipe.sparsity.method = method;
  recipe.sparsity.interval = 10;
  recipe.sparsity.scoring_steps = 4;
  return recipe;
}

bool has(const std::vector<std::string>& settings, const std::string& setting) {
  return std::ranges::count(settings, setting) == 1;
}

TEST(EqualTime, AnArmTwiceAsSlowGetsHalfTheSteps) {
  EXPECT_EQ(equal_time_steps(fresh_file(), std::vector{arm_of("a", 10), arm_of("b", 20)}),
            (Steps{{"a", 100}, {"b", 50}}));
}

TEST(EqualTime, WhatWasDecidedStaysWithMoreSeeds) {
  const auto file = fresh_file();
  equal_time_steps(file, std::vector{arm_of("a", 10), arm_of("b", 20)});
  EXPECT_EQ(equal_time_steps(file, std::vector{arm_of("a", 11), arm_of("b", 20), arm_of("c", 5)}),
            (Steps{{"a", 100}, {"b", 50}, {"c", 200}}));
}

TEST(EqualTime, AnotherFirstArmIsRefused) {
  const auto file = fresh_file();
  equal_time_steps(file, std::vector{arm_of("a", 10), arm_of("b", 20)});
  EXPECT_THROW(equal_time_steps(file, std::vector{arm_of("b", 20), arm_of("a", 10)}), Error);
}

TEST(EqualTime, SchedulesInStepsAreStretched) {
  const std::vector<std::string> settings = stretched(recipe_of(SparsityMethod::kRigl), 25);
  EXPECT_TRUE(has(settings, "train.steps=25"));
  EXPECT_TRUE(has(settings, "optimizer.warmup_steps=10"));
  EXPECT_TRUE(has(settings, "sparsity.interval=2"));
  EXPECT_TRUE(has(settings, "sparsity.scoring_steps=2"));
}

TEST(EqualTime, ADenseArmGetsNoTopologyUpdates) {
  for (const std::string& setting : stretched(recipe_of(SparsityMethod::kDense), 25))
    EXPECT_FALSE(setting.starts_with("sparsity.")) << setting;
}

TEST(EqualTime, AsManyStepsLeaveTheRecipeAsItIs) {
  EXPECT_EQ(stretched(recipe_of(SparsityMethod::kRigl), 100), std::vector<std::string>{"train.steps=100"});
}

}  // namespace
}  // namespace fern
