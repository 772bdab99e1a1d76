// Sparse training as a user would run it: ranks, stopping and going on, and what is refused.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

// RigL at 80 %, with an update every 5 steps whose scores are gathered over the 3 steps before.
std::vector<std::string> sparse(const std::string& method, std::vector<std::string> more = {}) {
  std::vector<std::string> words;
  for (const char* setting : {"sparsity.sparsity=0.8", "sparsity.interval=5", "sparsity.scoring_steps=3",
                              "train.steps=24", "checkpoint.every=1", "checkpoint.keep=0"})
    words.insert(words.end(), {"--set", setting});
  words.insert(words.end(), {"--set", "sparsity.method=" + method});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class SparseRun : public Run {};

TEST_F(SparseRun, RanksAndZeroDoNotChangeIt) {
  for (const std::string method : {"rigl", "gradual"}) {
    ASSERT_EQ(run_fern(train(method, sparse(method))).exit_code, 0);
    const std::vector<std::string> topologies = topology_hashes(method);
    EXPECT_GE(topologies.size(), 3u);
    EXPECT_NE(topologies[0], topologies[1]);
    for (const auto& [ranks, zero] : {std::pair{2, "1"}, {2, "2"}, {4, "0"}, {4, "2"}}) {
      const std::string run = method + std::to_string(ranks) + zero;
      const Outcome outcome =
          run_fern_on(ranks, train(run, sparse(method, {"--set", std::string("parallel.zero=") + zero})));
      ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
      expect_equal(method, run);
      EXPECT_EQ(topology_hashes(run), topologies);
    }
  }
}

TEST_F(SparseRun, GoesOnFromTheMiddleOfAnIntervalOnOtherRanks) {
  ASSERT_EQ(run_fern(train("unbroken", sparse("rigl"))).exit_code, 0);
  for (const int64_t last : {7, 9}) {  // before and among the steps that are scored
    const std::string run = "broken" + std::to_string(last);
    fs::copy(folder_ / "unbroken", folder_ / run, fs::copy_options::recursive);
    for (const fs::path& checkpoint : checkpoints(run))
      if (std::stoll(checkpoint.filename().string().substr(5)) > last) fs::remove_all(checkpoint);
    const Outcome outcome = run_fern_on(2, train(run, sparse("rigl", {"--set", "parallel.zero=1"})));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_TRUE(has(outcome.err, "continuing from")) << outcome.err;
    expect_equal("unbroken", run);
  }
}

TEST_F(SparseRun, EmbeddingAndHeadMayBeSparseOnAnyRanks) {
  for (const std::string tied : {"true", "false"}) {
    const std::vector<std::string> more = {"--set", "sparsity.embedding=true",
                                           "--set", "sparsity.head=true",
                                           "--set", "model.tie_embeddings=" + tied};
    const std::string run = "embedding_" + tied, other = run + "_2";
    ASSERT_EQ(run_fern(train(run, sparse("rigl", more))).exit_code, 0);
    const Outcome outcome = run_fern_on(2, train(other, sparse("rigl", more)));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    expect_equal(run, other);
    const Outcome described = run_fern({"inspect", path(run), "--json"});
    const auto sparsity = nlohmann::json::parse(described.out).at("sparsity");
    EXPECT_NEAR(sparsity.at("model.embed_tokens.weight").at("density"), 0.2, 0.01);
    EXPECT_EQ(sparsity.contains("lm_head.weight"), tied == "false");
    ASSERT_EQ(run_fern({"export", path(run), "--out", path(run + "_out")}).exit_code, 0);
    ASSERT_EQ(run_fern({"import", path(run + "_out"), "--out", path(run + "_in")}).exit_code, 0);
    const Outcome imported = run_fern({"inspect", path(run + "_in/step-000000"), "--json"});
    for (const char* key : {"weights_hash", "topology_hash"})
      EXPECT_EQ(nlohmann::json::parse(imported.out).at(key), nlohmann::json::parse(described.out).at(key));
  }
}

// Among all matrices the embedding's weights may win, and it has more of them than at first.
TEST_F(SparseRun, ATiedEmbeddingMayGainFromAllOthers) {
  const std::vector<std::string> more = {
      "--set", "sparsity.global=true",      "--set", "sparsity.embedding=true",
      "--set", "sparsity.head=true",        "--set", "sparsity.drop_fraction=0.99",
      "--set", "model.tie_embeddings=true", "--set", "batch.reduction_shards=2"};
  const Outcome outcome = run_fern(train("gains", sparse("rigl", more)));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
}

// Time and memory are tried on a model of fewer layers.
TEST_F(SparseRun, AnyLayerMayHaveASparsityOfItsOwn) {
  const std::vector<std::string> more = {"--set", "sparsity.layers={\"layers.1\"=0.6}"};
  const Outcome run = run_fern(train("layers", sparse("static", more))),
                plan = run_fern({"plan", (folder_ / "recipe.toml").string(), "--set",
                                 "sparsity.method=static", more[0], more[1]});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(plan.exit_code, 0) << plan.err;
}

TEST_F(SparseRun, MetricsSayHowTheTopologyFares) {
  ASSERT_EQ(run_fern(train("watched", sparse("rigl"))).exit_code, 0);
  std::istringstream lines(text_of(folder_ / "watched" / "metrics.jsonl"));
  std::vector<int64_t> watched, changes;
  nlohmann::json last;
  for (std::string line; std::getline(lines, line);) {
    const auto step = nlohmann::json::parse(line);
    if (step.contains("loss_change")) changes.push_back(step["loss_change"]["update"]);
    if (!step.contains("sparsity")) continue;
    watched.push_back(step["step"]);
    last = step["sparsity"];
    EXPECT_NEAR(last["density"], 0.2, 0.01);
    EXPECT_EQ(last["churn"] > 0, step.contains("topology"));
    EXPECT_GT(last["gradient_flow"], 0);
  }
  EXPECT_EQ(watched, (std::vector<int64_t>{1, 5, 10, 15, 20, 24}));
  EXPECT_EQ(changes, (std::vector<int64_t>{5, 10, 15}));
  EXPECT_GT(last["ever_active"], last["density"]);
  EXPECT_EQ(last["weights"].size(), 14u);
}

TEST_F(SparseRun, InspectSaysWhichWeightsExist) {
  ASSERT_EQ(run_fern(train("blocks", sparse("static", {"--set", "sparsity.pattern=block", "--set",
                                                       "sparsity.block=8"})))
                .exit_code,
            0);
  const Outcome outcome = run_fern({"inspect", path("blocks"), "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto described = nlohmann::json::parse(outcome.out);
  int64_t dense = 0, nonzeros = 0;
  for (const auto& [name, entry] : described.at("sparsity").items()) {
    EXPECT_EQ(entry.at("block"), nlohmann::json({8, 8})) << name;
    nonzeros += entry.at("nonzeros").get<int64_t>();
    dense +=
        static_cast<int64_t>(entry.at("nonzeros").get<double>() / entry.at("density").get<double>() + 0.5);
  }
  EXPECT_NEAR(static_cast<double>(nonzeros) / static_cast<double>(dense), 0.2,
              32.0 / static_cast<double>(dense));
  EXPECT_EQ(described.at("parameters").get<int64_t>() - described.at("nonzeros").get<int64_t>(),
            dense - nonzeros);
  EXPECT_TRUE(described.at("topology_hash").is_string());
}

TEST_F(SparseRun, IsEvaluatedFromItsCheckpoint) {
  ASSERT_EQ(run_fern(train("evaluated", sparse("set"))).exit_code, 0);
  const Outcome outcome = run_fern({"evaluate", path("evaluated")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST_F(SparseRun, ADenseRunIsNotContinuedSparse) {
  ASSERT_EQ(run_fern(train("was_dense", {"--set", "train.steps=6"})).exit_code, 0);
  const Outcome outcome =
      run_fern(train("was_dense", {"--set", "train.steps=6", "--set", "sparsity.method=static", "--set",
                                   "sparsity.sparsity=0.5"}));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "sparsity.method is \"dense\" there and \"static\" here")) << outcome.err;
}

TEST_F(SparseRun, WhatCannotBeIsRefused) {
  for (const auto& [setting, text] : {std::pair{"sparsity.sparsity=1", "sparsity.sparsity"},
                                      {"sparsity.drop_fraction=0", "drop_fraction"},
                                      {"sparsity.interval=90", "sparsity.interval"},
                                      {"sparsity.head=true", "sparsity.embedding = true beside it"},
                                      {"sparsity.sparsity=0.9999999", "too few"}}) {
    const Outcome outcome = run_fern(train("refused", sparse("rigl", {"--set", setting})));
    EXPECT_EQ(outcome.exit_code, 2) << setting;
    EXPECT_TRUE(has(outcome.err, text)) << outcome.err;
  }
  const Outcome large = run_fern(
      train("refused", sparse("static", {"--set", "sparsity.pattern=block", "--set", "sparsity.block=64"})));
  EXPECT_EQ(large.exit_code, 2);
  EXPECT_TRUE(has(large.err, "sparsity.block")) << large.err;
}

}  // namespace
}  // namespace fern
