// Models with norms of queries and keys as a user would train, export and import them.
#include <nlohmann/json.hpp>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

class QwenRun : public Run {
 protected:
  static std::vector<std::string> normed(std::vector<std::string> settings) {
    std::vector<std::string> words = {"--set", "model.qk_norm=true"};
    for (const std::string& setting : settings) words.insert(words.end(), {"--set", setting});
    return words;
  }
};

TEST_F(QwenRun, LayoutsAndStoppingDoNotChangeIt) {
  const std::vector<std::string> saved = {"checkpoint.every=10", "checkpoint.keep=0", "train.steps=20"};
  const auto with = [&](const std::string& setting) {
    std::vector<std::string> settings = saved;
    settings.push_back(setting);
    return normed(settings);
  };
  ASSERT_EQ(run_fern(train("alone", normed(saved))).exit_code, 0);
  for (const std::string layout : {"parallel.pipeline=2", "parallel.zero=2"}) {
    const Outcome ranks = run_fern_on(2, train(layout, with(layout)));
    ASSERT_EQ(ranks.exit_code, 0) << ranks.err;
    expect_equal("alone", layout);
    std::filesystem::remove_all(checkpoints(layout).back());
    const Outcome again = run_fern(train(layout, normed(saved)));
    ASSERT_EQ(again.exit_code, 0) << again.err;
    expect_equal("alone", layout);
  }
}

TEST_F(QwenRun, IsEvaluatedAndGenerates) {
  ASSERT_EQ(run_fern(train("used", normed({"train.steps=10"}))).exit_code, 0);
  const Outcome evaluated = run_fern({"evaluate", path("used")});
  EXPECT_EQ(evaluated.exit_code, 0) << evaluated.err;
  const Outcome generated = run_fern({"generate", path("used"), "--prompt", "open", "--max-tokens", "4"});
  EXPECT_EQ(generated.exit_code, 0) << generated.err;
}

TEST_F(QwenRun, IsExportedAsItsFamilyAndImportedAgain) {
  const std::string experts = "model.experts.count=4", width = "model.experts.ffn=32";
  const std::vector<std::pair<std::string, std::vector<std::string>>> kinds = {
      {"Qwen3ForCausalLM", {"model.head_dim=12"}},
      {"Qwen3MoeForCausalLM", {experts, width, "model.experts.every=2"}},
      {"Qwen3MoeForCausalLM", {experts, "model.experts.router=switch", "sparsity.method=static"}}};
  for (size_t i = 0; i < kinds.size(); ++i) {
    const std::string run = "family" + std::to_string(i), folder = path(run) + "/export";
    std::vector<std::string> settings = kinds[i].second;
    settings.push_back("train.steps=8");
    ASSERT_EQ(run_fern(train(run, normed(settings))).exit_code, 0);
    const Outcome exported = run_fern({"export", path(run), "--out", folder});
    ASSERT_EQ(exported.exit_code, 0) << exported.err;
    EXPECT_TRUE(has(exported.out, "read back through a second implementation")) << exported.out;
    const auto config = nlohmann::json::parse(text_of(folder + "/config.json"));
    EXPECT_EQ(config.at("architectures").at(0), kinds[i].first);
    const Outcome imported = run_fern({"import", folder, "--out", path(run) + "/import"});
    ASSERT_EQ(imported.exit_code, 0) << imported.err;
    EXPECT_EQ(weights_hash(path(run) + "/import/step-000000"), weights_hash(checkpoints(run).back()));
    EXPECT_EQ(weights_hash(folder), weights_hash(checkpoints(run).back()));
  }
}

TEST_F(QwenRun, AFolderWithAnotherKindOfTokenizerIsRefused) {
  const std::filesystem::path folder = path("tokenizer");
  ASSERT_EQ(run_fern({"export", path("whole"), "--out", folder.string()}).exit_code, 0);
  std::filesystem::rename(folder / "tokenizer.model", folder / "tokenizer.json");
  const Outcome outcome = run_fern({"import", folder.string(), "--out", path("none")});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(has(outcome.err, "got tokenizer.json alone, which Fern does not read")) << outcome.err;
}

TEST_F(QwenRun, WeightsWithoutTheNormsAreRefused) {
  const Outcome outcome = run_fern(train(
      "refused", normed({"model.weights=" + path("whole"), "train.steps=1", "optimizer.warmup_steps=1"})));
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "qk_norm false (here true)")) << outcome.err;
}

}  // namespace
}  // namespace fern
