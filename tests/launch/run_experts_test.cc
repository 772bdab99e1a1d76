// Models with experts as a user would train them.
#include <nlohmann/json.hpp>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> experts(std::vector<std::string> more = {}) {
  std::vector<std::string> words;
  for (const char* setting : {"model.layers=2", "model.experts.count=4", "model.experts.every=2",
                              "model.experts.ffn=32", "model.experts.shared=1"})
    words.insert(words.end(), {"--set", setting});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class ExpertRun : public Run {};

TEST_F(ExpertRun, RanksAndStoppingDoNotChangeIt) {
  ASSERT_EQ(run_fern(train("alone", experts({"--set", "checkpoint.every=4", "--set", "checkpoint.keep=0"})))
                .exit_code,
            0);
  const Outcome ranks =
      run_fern_on(2, train("ranks", experts({"--set", "checkpoint.every=4", "--set", "checkpoint.keep=0",
                                             "--set", "parallel.zero=1"})));
  ASSERT_EQ(ranks.exit_code, 0) << ranks.err;
  expect_equal("alone", "ranks");
  fs::remove_all(checkpoints("ranks").back());
  const Outcome again =
      run_fern(train("ranks", experts({"--set", "checkpoint.every=4", "--set", "checkpoint.keep=0"})));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_TRUE(has(again.err, "continuing from")) << again.err;
  expect_equal("alone", "ranks");
}

TEST_F(ExpertRun, IsEvaluatedAndGeneratesAndIsNotExportedWithWhatMixtralHasNot) {
  ASSERT_EQ(run_fern(train("used", experts())).exit_code, 0);
  const Outcome evaluated = run_fern({"evaluate", path("used")});
  EXPECT_EQ(evaluated.exit_code, 0) << evaluated.err;
  const Outcome generated = run_fern({"generate", path("used"), "--prompt", "open", "--max-tokens", "4"});
  EXPECT_EQ(generated.exit_code, 0) << generated.err;
  const Outcome exported = run_fern({"export", path("used"), "--out", path("exported")});
  EXPECT_EQ(exported.exit_code, 2);
  EXPECT_TRUE(has(exported.err, "model.experts.shared = 1")) << exported.err;
}

TEST_F(ExpertRun, IsExportedAsAMixtralAndImportedAgain) {
  for (const std::string method : {"dense", "static"}) {
    const std::string run = "mixtral_" + method, folder = path(run) + "/export";
    std::vector<std::string> words = train(run);
    for (const std::string setting :
         {"train.steps=8", "model.layers=2", "model.experts.count=4", "model.experts.ffn=32",
          "model.experts.balance_loss=0.02", "sparsity.sparsity=0.7"})
      words.insert(words.end(), {"--set", setting});
    words.insert(words.end(), {"--set", "sparsity.method=" + method});
    ASSERT_EQ(run_fern(words).exit_code, 0);
    const Outcome exported = run_fern({"export", path(run), "--out", folder});
    ASSERT_EQ(exported.exit_code, 0) << exported.err;
    EXPECT_TRUE(has(exported.out, "read back through a second implementation")) << exported.out;
    const auto config = nlohmann::json::parse(text_of(fs::path(folder) / "config.json"));
    EXPECT_EQ(config.at("architectures").at(0), "MixtralForCausalLM");
    EXPECT_EQ(config.at("router_aux_loss_coef"), 0.02);
    const Outcome imported = run_fern({"import", folder, "--out", path(run) + "/import"});
    ASSERT_EQ(imported.exit_code, 0) << imported.err;
    EXPECT_EQ(weights_hash(fs::path(path(run)) / "import" / "step-000000"),
              weights_hash(checkpoints(run).back()));
    EXPECT_EQ(weights_hash(folder), weights_hash(checkpoints(run).back()));
  }
}

TEST_F(ExpertRun, ThePlanTellsAllParametersAndThoseThatATokenUses) {
  std::vector<std::string> words = {"plan", path("recipe.toml")};
  for (const std::string& word : experts()) words.push_back(word);
  const Outcome planned = run_fern(words);
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  EXPECT_TRUE(has(planned.out, " active)")) << planned.out;
  EXPECT_TRUE(has(planned.out, "tokens/s")) << planned.out;
}

TEST_F(ExpertRun, SparseExpertsAreSavedLoadedAndGoOn) {
  const std::vector<std::string> rigl =
      experts({"--set", "sparsity.method=rigl", "--set", "sparsity.sparsity=0.8", "--set",
               "sparsity.interval=5", "--set", "sparsity.scoring_steps=3", "--set", "train.steps=20", "--set",
               "checkpoint.every=8", "--set", "checkpoint.keep=0"});
  const Outcome run = run_fern(train("sparse", rigl));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Outcome inspected = run_fern({"inspect", checkpoints("sparse").back().string(), "--json"});
  ASSERT_EQ(inspected.exit_code, 0) << inspected.err;
  const auto json = nlohmann::json::parse(inspected.out);
  EXPECT_LT(json.at("nonzeros").get<int64_t>(), json.at("parameters").get<int64_t>());
  EXPECT_TRUE(
      has(text_of(checkpoints("sparse").back() / "manifest.json"), "block_sparse_moe.experts.3.w2.weight"));
  const Outcome evaluated = run_fern({"evaluate", path("sparse")});
  EXPECT_EQ(evaluated.exit_code, 0) << evaluated.err;
  fs::copy(folder_ / "sparse", folder_ / "sparse_on", fs::copy_options::recursive);
  fs::remove_all(checkpoints("sparse_on").back());
  const Outcome again = run_fern(train("sparse_on", rigl));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_TRUE(has(again.err, "continuing from")) << again.err;
  expect_equal("sparse", "sparse_on");
}

class Upcycling : public Run {
 protected:
  static Outcome run(const std::string& name, const std::vector<std::string>& settings) {
    std::vector<std::string> words = train(name, {"--set", "model.weights=" + path("whole"), "--set",
                                                  "train.steps=1", "--set", "optimizer.warmup_steps=1"});
    for (const std::string& setting : settings) words.insert(words.end(), {"--set", setting});
    return run_fern(words);
  }
  static double first_loss(const std::string& name, const std::vector<std::string>& settings) {
    const Outcome outcome = run(name, settings);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return nlohmann::json::parse(text_of(folder_ / name / "metrics.jsonl")).at("loss");
  }
  static void expect_refused(const std::vector<std::string>& settings, const std::string& text) {
    const Outcome outcome = run("refused", settings);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_TRUE(has(outcome.err, text)) << outcome.err;
  }
};

TEST_F(Upcycling, TheFirstLossIsThatOfTheDenseModel) {
  const double dense = first_loss("dense", {});
  for (const std::string every : {"1", "2"}) {
    const double loss =
        first_loss("every_" + every, {"model.experts.count=4", "model.experts.every=" + every});
    EXPECT_NEAR(loss, dense, 1e-5 * dense);
  }
}

TEST_F(Upcycling, ASparseModelBeginsWithThePrunedFeedForwardsInEachExpert) {
  const double pruned = first_loss("pruned", {"sparsity.method=static", "sparsity.sparsity=0.5"});
  const double loss = first_loss(
      "pruned_experts", {"sparsity.method=static", "sparsity.sparsity=0.5", "model.experts.count=4"});
  EXPECT_NEAR(loss, pruned, 1e-5 * pruned);
}

TEST_F(Upcycling, ASparseModelsPatternsAreThoseOfEachExpert) {
  const std::string source = "model.weights=" + path("pruned_source");
  ASSERT_EQ(run_fern({"prune", path("whole"), "--out", path("pruned_source"), "--sparsity", "0.7"}).exit_code,
            0);
  const double sparse = first_loss("sparse", {source, "sparsity.method=static"});
  for (const std::string method : {"static", "dense"}) {
    const double loss = first_loss("sparse_" + method + "_experts",
                                   {source, "sparsity.method=" + method, "model.experts.count=4"});
    EXPECT_NEAR(loss, sparse, 1e-5 * sparse);
  }
}

TEST_F(Upcycling, GatesThatSumToLessAreToldOf) {
  const Outcome outcome = run("switch", {"model.experts.count=4", "model.experts.router=switch"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "does not begin as the dense one")) << outcome.err;
}

TEST_F(Upcycling, RanksAndStoppingDoNotChangeIt) {
  const std::vector<std::string> settings = {"--set", "model.weights=" + path("whole"),
                                             "--set", "model.experts.count=4",
                                             "--set", "train.steps=12",
                                             "--set", "checkpoint.every=6",
                                             "--set", "checkpoint.keep=0"};
  ASSERT_EQ(run_fern(train("alone", settings)).exit_code, 0);
  const Outcome ranks = run_fern_on(2, train("together", settings));
  ASSERT_EQ(ranks.exit_code, 0) << ranks.err;
  expect_equal("alone", "together");
  fs::remove_all(checkpoints("together").back());
  ASSERT_EQ(run_fern(train("together", settings)).exit_code, 0);
  expect_equal("alone", "together");
}

TEST_F(Upcycling, WhatCannotBeginAsCopiesIsRefused) {
  expect_refused({"model.experts.count=4", "model.experts.ffn=32"}, "expected 64 (model.ffn)");
  expect_refused({"model.experts.count=4", "model.experts.shared=1"}, "model.experts.shared = 1");
  expect_refused({"model.experts.count=4", "model.layers=3"}, "layers 2 (here 3)");
}

}  // namespace
}  // namespace fern
