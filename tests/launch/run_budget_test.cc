// An equal-budget comparison as a user would run it.
#include <nlohmann/json.hpp>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

class BudgetRun : public Run {
 protected:
  static Outcome compare(const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> words = {
        "budget", path("recipe.toml"),        "--out", path(out),        "--sparsity", "0.5",
        "--arms", "dense_small,rigl",         "--set", "train.steps=8",  "--set",      "sparsity.interval=3",
        "--set",  "sparsity.scoring_steps=2", "--set", "train.threads=1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_fern(words);
  }
  static nlohmann::json table(const std::string& out) {
    return nlohmann::json::parse(text_of(folder_ / out / "table.json"));
  }
};

TEST_F(BudgetRun, ComparesEqualWeightsInEqualStepsAndEqualTime) {
  const Outcome outcome = compare("budget", {"--seeds", "2", "--wall-clock"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, text_of(folder_ / "budget" / "table.md"));
  const nlohmann::json arms = table("budget").at("equal_steps").at("arms");
  ASSERT_EQ(arms.size(), 2u);
  const double dense = arms[0].at("weights"), sparse = arms[1].at("weights");
  EXPECT_NEAR(dense / sparse, 1, 0.021);
  for (const nlohmann::json& arm : arms) {
    EXPECT_EQ(arm.at("seeds"), 2);
    EXPECT_EQ(arm.at("steps"), 8);
    EXPECT_GT(arm.at("flops"), 6 * 8 * 8 * 96 * sparse);  // of products; attention and scores come on top
    EXPECT_GT(arm.at("peak_bytes"), 1e6);
    EXPECT_GT(arm.at("macro").at("mean"), 0);
    EXPECT_GE(arm.at("worst_tenth").at("mean"), arm.at("macro").at("mean"));
  }
  EXPECT_EQ(table("budget").at("equal_time").at("arms")[0].at("steps"), 8);
}

TEST_F(BudgetRun, WhatIsDoneIsNotDoneAgain) {
  ASSERT_EQ(compare("again", {"--seeds", "1"}).exit_code, 0);
  const fs::path log = folder_ / "again" / "equal_steps" / "rigl-seed3" / "log.txt";
  const std::string before = text_of(log);
  ASSERT_FALSE(before.empty());
  const Outcome more = compare("again", {"--seeds", "2"});
  ASSERT_EQ(more.exit_code, 0) << more.err;
  EXPECT_EQ(text_of(log), before);
  EXPECT_EQ(table("again").at("equal_steps").at("runs").size(), 4u);
}

TEST_F(BudgetRun, ResultsOfOtherStepsAreRefused) {
  ASSERT_EQ(compare("steps", {"--seeds", "1"}).exit_code, 0);
  const Outcome outcome = compare("steps", {"--seeds", "1", "--set", "train.steps=12"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "8 steps and the recipe asks for 12")) << outcome.err;
}

TEST_F(BudgetRun, AnotherRecipeInTheFolderIsRefused) {
  ASSERT_EQ(compare("other", {"--seeds", "1"}).exit_code, 0);
  const Outcome outcome = compare("other", {"--seeds", "1", "--set", "optimizer.learning_rate=1e-3"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "optimizer.learning_rate")) << outcome.err;
}

TEST_F(BudgetRun, WhatOneArmRefusesIsRefusedBeforeTheOthersTrain) {
  const Outcome outcome = compare("early", {"--set", "sparsity.interval=90"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "sparsity.interval")) << outcome.err;
  EXPECT_FALSE(fs::exists(folder_ / "early"));
}

TEST_F(BudgetRun, AFailedRunNamesItsLog) {
  const Outcome outcome = compare("failed", {"--ranks", "5"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(has(outcome.err, "log.txt says why")) << outcome.err;
}

}  // namespace
}  // namespace fern
