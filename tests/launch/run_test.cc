// The main job on a tiny corpus, as a user would run it: ranks, signals, crashes, damage, exchange with other
// tools.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "tests/launch/program.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Run : public testing::Test {
 protected:
  static fs::path folder_;

  static void SetUpTestSuite() {
    folder_ = fs::path(testing::TempDir()) / ("fern_run_" + std::to_string(getpid()));
    const std::string script = std::string(FERN_SOURCE_ROOT) + "/tests/support/tiny_recipe.sh";
    const Outcome outcome = Program({"sh", script, folder_.string(), FERN_PROGRAM}).wait();
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const Outcome whole = run_fern(train("whole"));
    ASSERT_EQ(whole.exit_code, 0) << whole.err;
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }

  static std::string path(const std::string& name) { return (folder_ / name).string(); }
  static std::vector<std::string> train(const std::string& run, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"train", path("recipe.toml"), "--out", path(run),
                                      "--set", "train.threads=1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static void expect_equals_whole(const std::string& run) {
    const Outcome outcome = run_fern({"compare", path("whole"), path(run)});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    const auto ledger = nlohmann::json::parse(text_of(folder_ / run / "ledger.json"));
    EXPECT_EQ(ledger, nlohmann::json::parse(text_of(folder_ / "whole" / "ledger.json")));
    EXPECT_EQ(ledger.at("token_stream_sha256").get<std::string>().size(), 64u);
  }
  static std::vector<fs::path> checkpoints(const std::string& run) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder_ / run / "checkpoints"))
      found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    return found;
  }
  static std::string weights_hash(const fs::path& checkpoint) {
    const Outcome outcome = run_fern({"inspect", checkpoint.string(), "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out).at("weights_hash");
  }
  // Starts a run of a few steps more than the whole one needs to be interrupted in, and waits until it is at
  // work.
  static void wait_for_steps(const std::string& run, int64_t steps) {
    for (int i = 0; i < 600; ++i) {
      const std::string metrics = text_of(folder_ / run / "metrics.jsonl");
      if (std::count(metrics.begin(), metrics.end(), '\n') >= steps) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << "no " << steps << " steps of " << run << " after six seconds";
  }
};
fs::path Run::folder_;

TEST_F(Run, RanksAndZeroDoNotChangeIt) {
  for (const auto& [ranks, zero] : {std::pair{2, "0"}, {2, "1"}, {4, "1"}}) {
    const std::string run = std::string("ranks") + std::to_string(ranks) + zero;
    const Outcome outcome = run_fern_on(ranks, train(run, {"--set", std::string("parallel.zero=") + zero}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    expect_equals_whole(run);
  }
}

TEST_F(Run, AnotherSeedIsAnotherRun) {
  ASSERT_EQ(run_fern(train("other", {"--set", "train.seed=4"})).exit_code, 0);
  EXPECT_EQ(run_fern({"compare", path("whole"), path("other")}).exit_code, 1);
  EXPECT_NE(text_of(folder_ / "other" / "ledger.json"), text_of(folder_ / "whole" / "ledger.json"));
}

TEST_F(Run, StopsOnRequestAndGoesOnWithOtherRanks) {
  for (int signal_number : {SIGTERM, SIGINT, SIGUSR1}) {
    const std::string run = "stopped" + std::to_string(signal_number);
    Program program(fern_command(train(run)));
    wait_for_steps(run, 3);
    program.send(signal_number);
    const Outcome outcome = program.wait();
    ASSERT_EQ(outcome.exit_code, 3) << outcome.err;
    ASSERT_EQ(run_fern_on(2, train(run)).exit_code, 0);
    expect_equals_whole(run);
  }
}

TEST_F(Run, KilledRunGoesOnFromItsLastCheckpoint) {
  Program program(fern_command(train("killed", {"--set", "checkpoint.every=2"})));
  wait_for_steps("killed", 9);
  program.send(SIGKILL);
  program.wait();
  ASSERT_EQ(run_fern(train("killed", {"--set", "checkpoint.every=2"})).exit_code, 0);
  expect_equals_whole("killed");
}

TEST_F(Run, TwoAtOnceInOneFolderAreRefused) {
  const std::vector<std::string> words = train("shared", {"--set", "train.steps=2000"});
  Program first(fern_command(words));
  wait_for_steps("shared", 1);
  const Outcome second = run_fern(words);
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_TRUE(has(second.err, "another fern train")) << second.err;
  first.send(SIGTERM);
  EXPECT_EQ(first.wait().exit_code, 3);
}

TEST_F(Run, DamagedCheckpointIsNamedAndTheOneBeforeUsed) {
  ASSERT_EQ(run_fern(train("damaged")).exit_code, 0);
  const fs::path newest = checkpoints("damaged").back(), weights = newest / "weights.h5";
  std::string bytes = text_of(weights);
  bytes[bytes.size() / 2] ^= 1;
  std::ofstream(weights, std::ios::binary) << bytes;
  const Outcome outcome = run_fern(train("damaged"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.err, newest.filename().string())) << outcome.err;
  expect_equals_whole("damaged");
}

TEST_F(Run, ExportComesBackAsTheSameWeights) {
  const Outcome exported = run_fern({"export", path("whole"), "--out", path("export")});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  ASSERT_EQ(run_fern({"import", path("export"), "--out", path("imported")}).exit_code, 0);
  EXPECT_EQ(weights_hash(folder_ / "imported" / "step-000000"), weights_hash(checkpoints("whole").back()));
  EXPECT_EQ(weights_hash(folder_ / "export"), weights_hash(checkpoints("whole").back()));
  EXPECT_EQ(run_fern({"export", path("whole"), "--out", path("collection")}).exit_code, 2);
  EXPECT_TRUE(fs::exists(folder_ / "collection" / "origins.jsonl"));
}

TEST_F(Run, EvaluationDoesNotDependOnRanks) {
  ASSERT_EQ(run_fern({"evaluate", path("whole"), "--json", path("one.json")}).exit_code, 0);
  ASSERT_EQ(run_fern_on(2, {"evaluate", path("whole"), "--json", path("two.json")}).exit_code, 0);
  const auto one = nlohmann::json::parse(text_of(folder_ / "one.json"));
  EXPECT_EQ(one, nlohmann::json::parse(text_of(folder_ / "two.json")));
  EXPECT_EQ(one.at("languages").size(), 3u);
  EXPECT_GT(one.at("macro"), 0.0);
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

TEST_F(Run, RanksThatDoNotDivideAreRefusedWithThoseThatWould) {
  const Outcome outcome = run_fern_on(3, train("three"));
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "4")) << outcome.err;
}

TEST_F(Run, AnotherModelInARunFolderIsRefusedByName) {
  const Outcome outcome = run_fern(train("whole", {"--set", "model.layers=3"}));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "model.layers")) << outcome.err;
}

TEST_F(Run, DamagedDataIsRefusedByName) {
  const fs::path shard = fs::directory_iterator(folder_ / "prepared" / "train")->path();
  const std::string bytes = text_of(shard);
  std::ofstream(shard, std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  const Outcome truncated = run_fern(train("truncated"));
  EXPECT_EQ(truncated.exit_code, 1);
  EXPECT_TRUE(has(truncated.err, shard.filename().string())) << truncated.err;
  fs::remove(shard);
  const Outcome gone = run_fern(train("gone"));
  EXPECT_EQ(gone.exit_code, 1);
  EXPECT_TRUE(has(gone.err, shard.filename().string()) && has(gone.err, "fern prepare")) << gone.err;
  std::ofstream(shard, std::ios::binary) << bytes;
  const Outcome missing = run_fern(train("missing", {"--set", "data.folder=" + path("nowhere")}));
  EXPECT_NE(missing.exit_code, 0);
  EXPECT_TRUE(has(missing.err, "fern prepare")) << missing.err;
}

TEST_F(Run, OutputFolderThatCannotBeMadeIsNamed) {
  std::ofstream(path("file")) << "in the way";
  const Outcome outcome = run_fern(train("file/run"));
  EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
  EXPECT_TRUE(has(outcome.err, path("file"))) << outcome.err;
}

}  // namespace
}  // namespace fern
