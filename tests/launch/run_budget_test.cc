// An equal-budget comparison as a user would run it.
#include <fstream>
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

TEST_F(BudgetRun, MoreSeedsTrainAsManyStepsInEqualTime) {
  ASSERT_EQ(compare("more", {"--seeds", "1", "--wall-clock"}).exit_code, 0);
  const fs::path file = folder_ / "more" / "equal_time" / "steps.json";
  const std::string before = text_of(file);
  const Outcome more = compare("more", {"--seeds", "2", "--wall-clock"});
  ASSERT_EQ(more.exit_code, 0) << more.err;
  EXPECT_EQ(text_of(file), before);
  const nlohmann::json steps = nlohmann::json::parse(before).at("steps");
  for (const nlohmann::json& run : table("more").at("equal_time").at("runs"))
    EXPECT_EQ(run.at("steps"), steps.at(run.at("arm").get<std::string>()));
}

TEST_F(BudgetRun, AnArmThatGetsTooFewStepsIsRefusedAfterTheFirstTable) {
  fs::create_directories(folder_ / "few" / "equal_time");
  std::ofstream(folder_ / "few" / "equal_time" / "steps.json")
      << R"({"first": "dense_small", "train_s": 1, "steps": {"dense_small": 8, "rigl": 1}})";
  const Outcome outcome = compare("few", {"--seeds", "1", "--wall-clock"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "arm rigl gets 1 steps")) << outcome.err;
  EXPECT_EQ(table("few").at("equal_steps").at("runs").size(), 2u);
}

TEST_F(BudgetRun, ResultsOfOtherRanksAreRefused) {
  ASSERT_EQ(compare("ranks", {"--seeds", "1"}).exit_code, 0);
  const Outcome outcome = compare("ranks", {"--seeds", "1", "--ranks", "2"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "trained on 1 rank(s)")) << outcome.err;
}

TEST_F(BudgetRun, TheSharesOfANOfMRecipeAreItsSparsity) {
  const Outcome outcome =
      run_fern({"budget", path("recipe.toml"), "--out", path("n_of_m"), "--arms", "static", "--seeds", "1",
                "--set", "train.steps=2", "--set", "train.threads=1", "--set", "optimizer.warmup_steps=1",
                "--set", "sparsity.pattern=n_of_m", "--set", "sparsity.n=1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "75 % sparse")) << outcome.out;
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
