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

}  // namespace
}  // namespace fern
