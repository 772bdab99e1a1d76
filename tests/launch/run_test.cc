// The main job on a tiny corpus, as a user would run it: ranks, evaluation, exchange with other tools.
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

TEST_F(Run, RanksAndZeroDoNotChangeIt) {
  for (const auto& [ranks, zero] :
       {std::pair{2, "0"}, {2, "1"}, {2, "2"}, {4, "0"}, {4, "1"}, {4, "2"}, {2, "3"}, {4, "3"}}) {
    const std::string run = std::string("ranks") + std::to_string(ranks) + zero;
    const Outcome outcome = run_fern_on(ranks, train(run, {"--set", std::string("parallel.zero=") + zero}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    expect_equals_whole(run);
  }
}

TEST_F(Run, BF16LearnsAsF32DoesAndRanksDoNotChangeIt) {
  const std::vector<std::string> bf16 = {"--set", "model.dtype=bf16"};
  ASSERT_EQ(run_fern(train("bf16", bf16)).exit_code, 0);
  ASSERT_EQ(run_fern_on(2, train("bf16_on_two", bf16)).exit_code, 0);
  expect_equal("bf16", "bf16_on_two");
  const auto last_loss = [](const std::string& run) {
    const std::string metrics = text_of(folder_ / run / "metrics.jsonl");
    return nlohmann::json::parse(metrics.substr(metrics.rfind("{\"step\""))).at("loss").get<double>();
  };
  EXPECT_NEAR(last_loss("bf16"), last_loss("whole"), 0.02 * last_loss("whole"));
  EXPECT_NE(last_loss("bf16"), last_loss("whole"));
}

TEST_F(Run, AnotherSeedIsAnotherRun) {
  ASSERT_EQ(run_fern(train("other", {"--set", "train.seed=4"})).exit_code, 0);
  EXPECT_EQ(run_fern({"compare", path("whole"), path("other")}).exit_code, 1);
  EXPECT_NE(text_of(folder_ / "other" / "ledger.json"), text_of(folder_ / "whole" / "ledger.json"));
}

TEST_F(Run, RanksThatDoNotDivideAreRefusedWithThoseThatWould) {
  const Outcome outcome = run_fern_on(3, train("three"));
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "1, 2, 4")) << outcome.err;
}

TEST_F(Run, ProfileGivesATableAndATraceOfEachRankAndChangesNothing) {
  const Outcome outcome = run_fern_on(2, train("profiled", {"--profile", "3"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_equals_whole("profiled");
  for (const char* part : {"3 steps after the first", "GFLOP/s", "reduce", "in no op"})
    EXPECT_TRUE(has(outcome.out, part)) << part << "\n" << outcome.out;
  for (const int rank : {0, 1}) {
    const auto trace = nlohmann::json::parse(
        text_of(folder_ / "profiled" / ("profile-rank-" + std::to_string(rank) + ".json")));
    EXPECT_EQ(trace.at("traceEvents").back().at("pid"), rank);
    EXPECT_EQ(trace.at("traceEvents").back().at("args").at("step"), 4);
  }
  EXPECT_FALSE(fs::exists(folder_ / "whole" / "profile-rank-0.json"));
}

TEST_F(Run, ProfileWithoutANumberIsOfAllSteps) {
  const Outcome outcome = run_fern(train("profiled_whole", {"--profile"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "steps after the first")) << outcome.out;
  EXPECT_TRUE(fs::exists(folder_ / "profiled_whole" / "profile-rank-0.json"));
}

TEST_F(Run, ProfileOfNoNumberIsBadUsage) {
  const Outcome outcome = run_fern({"train", "--profile", path("recipe.toml"), "--out", path("unprofiled")});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "how many steps to profile")) << outcome.err;
}

TEST_F(Run, EvaluationDoesNotDependOnRanks) {
  ASSERT_EQ(run_fern({"evaluate", path("whole"), "--json", path("one.json")}).exit_code, 0);
  ASSERT_EQ(run_fern_on(2, {"evaluate", path("whole"), "--json", path("two.json")}).exit_code, 0);
  const auto one = nlohmann::json::parse(text_of(folder_ / "one.json"));
  EXPECT_EQ(one, nlohmann::json::parse(text_of(folder_ / "two.json")));
  EXPECT_EQ(one.at("languages").size(), 3u);
  EXPECT_GT(one.at("macro"), 0.0);
}

TEST_F(Run, EvaluationPrintsARowForEachLanguageAndTheAverages) {
  const Outcome outcome = run_fern({"evaluate", path("whole"), "--json", path("table.json")});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto scores = nlohmann::json::parse(text_of(folder_ / "table.json"));
  for (const auto& [language, score] : scores.at("languages").items()) {
    char row[100];
    std::snprintf(row, sizeof row, "%-12s", language.c_str());
    EXPECT_TRUE(has(outcome.out, row)) << outcome.out;
    std::snprintf(row, sizeof row, "%11.3f", score.at("bits_per_byte").get<double>());
    EXPECT_TRUE(has(outcome.out, row)) << outcome.out;
  }
  char averages[100];
  std::snprintf(averages, sizeof averages, "macro %.3f", scores.at("macro").get<double>());
  EXPECT_TRUE(has(outcome.out, averages)) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "unigram baseline")) << outcome.out;
}

TEST_F(Run, EvaluationWithoutItsDataSaysHowToNameIt) {
  const Outcome outcome = run_fern({"evaluate", path("whole"), "--data", path("moved")});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, path("moved")) && has(outcome.err, "--data")) << outcome.err;
}

TEST_F(Run, GreedyTextIsTheSameTwiceAndLongPromptsAreRefused) {
  const std::vector<std::string> words = {"generate",  path("whole"),  "--prompt",
                                          "open file", "--max-tokens", "8"};
  const Outcome first = run_fern(words);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(run_fern(words).out, first.out);
  const Outcome refused = run_fern({"generate", path("whole"), "--prompt", std::string(2000, 'x')});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(has(refused.err, "context")) << refused.err;
}

TEST_F(Run, ExportComesBackAsTheSameWeights) {
  const Outcome exported = run_fern({"export", path("whole"), "--out", path("export")});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  ASSERT_EQ(run_fern({"import", path("export"), "--out", path("imported")}).exit_code, 0);
  EXPECT_EQ(weights_hash(folder_ / "imported" / "step-000000"), weights_hash(checkpoints("whole").back()));
  EXPECT_EQ(run_fern({"generate", path("imported"), "--prompt", "open file", "--max-tokens", "4"}).exit_code,
            0);
  EXPECT_EQ(weights_hash(folder_ / "export"), weights_hash(checkpoints("whole").back()));
  EXPECT_EQ(run_fern({"export", path("whole"), "--out", path("collection")}).exit_code, 2);
  EXPECT_TRUE(fs::exists(folder_ / "collection" / "origins.jsonl"));
}

TEST_F(Run, InspectKnowsAllThatFernWrites) {
  ASSERT_EQ(run_fern({"export", path("whole"), "--out", path("inspected_export")}).exit_code, 0);
  const fs::path shard = fs::directory_iterator(folder_ / "prepared" / "valid")->path();
  const std::pair<std::string, std::string> kinds[] = {
      {path("whole"), "checkpoint"},      {checkpoints("whole").back().string(), "checkpoint"},
      {shard.string(), "shard"},          {path("prepared"), "prepared data"},
      {path("collection"), "collection"}, {path("inspected_export"), "export"},
  };
  for (const auto& [what, kind] : kinds) {
    const Outcome outcome = run_fern({"inspect", what, "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << what << ": " << outcome.err;
    EXPECT_EQ(nlohmann::json::parse(outcome.out).at("kind"), kind) << what;
    EXPECT_TRUE(has(run_fern({"inspect", what}).out, kind)) << what;
  }
  const Outcome other = run_fern({"inspect", path("recipe.toml")});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_TRUE(has(other.err, "expected a checkpoint")) << other.err;
}

TEST_F(Run, PlanNamesMemoryAndLanguagesAndRefusesWhatDoesNotFit) {
  const Outcome outcome = run_fern({"plan", path("recipe.toml"), "--ranks", "2"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* part : {"parameters", "optimizer", "activations", "FLOP per token", "epochs", "yo"})
    EXPECT_TRUE(has(outcome.out, part)) << part << "\n" << outcome.out;
  const Outcome large = run_fern({"plan", path("recipe.toml"), "--set", "model.hidden=4096", "--set",
                                  "model.ffn=16384", "--set", "model.layers=400"});
  EXPECT_EQ(large.exit_code, 1) << large.out;
  EXPECT_TRUE(has(large.err, "does not fit")) << large.err;
  EXPECT_EQ(run_fern({"plan", path("recipe.toml"), "--ranks", "3"}).exit_code, 2);
}

TEST_F(Run, CompareNamesTheFirstStepAndFieldThatDiffer) {
  ASSERT_EQ(run_fern(train("decay", {"--set", "optimizer.learning_rate=2e-3"})).exit_code, 0);
  const Outcome outcome = run_fern({"compare", path("whole"), path("decay")});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(has(outcome.out, "step 1: ") && has(outcome.out, "lr: ")) << outcome.out;
}

}  // namespace
}  // namespace fern
