// The program on ranks that share experts.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

std::vector<std::string> with(const std::vector<std::string>& more) {
  std::vector<std::string> settings = {
      "model.experts.count=4",     "model.experts.ffn=32", "model.experts.balance_loss=0.01",
      "model.experts.log_every=5", "train.steps=20",       "checkpoint.every=10",
      "checkpoint.keep=0"};
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

class ExpertParallelProgram : public Run {
 protected:
  // Near in every loss, and what is told of experts by language is the same.
  static void expect_follows(const std::string& run, const std::string& reference, double tolerance = 1e-5) {
    expect_near(run, reference, tolerance);
    const auto steps = metrics(run), others = metrics(reference);
    for (size_t i = 0; i < std::min(steps.size(), others.size()); ++i) {
      ASSERT_EQ(steps[i].contains("experts"), others[i].contains("experts"));
      if (!steps[i].contains("experts")) continue;
      const auto &layer = steps[i]["experts"]["layers"]["1"], &other = others[i]["experts"]["layers"]["1"];
      EXPECT_EQ(layer["tokens"], other["tokens"]);
      for (const auto& [language, use] : layer["languages"].items())
        EXPECT_EQ(use["tokens"], other["languages"][language]["tokens"]) << language;
    }
  }
};

TEST_F(ExpertParallelProgram, FollowsOneProcessAndGoesOnWithAndWithoutShares) {
  trained(1, "alone", with({}));
  const Outcome two = trained(2, "two", with({"parallel.expert=2"}));
  EXPECT_TRUE(has(two.err, "2 of which share the experts")) << two.err;
  expect_follows("two", "alone");
  trained(4, "four", with({"parallel.expert=2"}));
  expect_follows("four", "alone");
  for (const bool begins_shared : {true, false}) {
    const std::string name = begins_shared ? "two" : "alone";
    go_back(name, 10);
    const Outcome ended =
        begins_shared ? trained(1, name, with({})) : trained(2, name, with({"parallel.expert=2"}));
    EXPECT_TRUE(has(ended.err, "step-000010")) << ended.err;
    expect_follows(name, "four");
  }
}

TEST_F(ExpertParallelProgram, FourExpertsOnThreeRanksFollowOneProcess) {
  const std::vector<std::string> batch = {"batch.sequences=6", "batch.micro_sequences=2",
                                          "batch.reduction_shards=3"};
  std::vector<std::string> shared = batch;
  shared.push_back("parallel.expert=3");
  trained(1, "uneven_alone", with(batch));
  trained(3, "uneven", with(shared));
  expect_follows("uneven", "uneven_alone");
}

TEST_F(ExpertParallelProgram, ZeroAndDataChangeNoBit) {
  trained(2, "bits", with({"parallel.expert=2"}));
  for (const auto& [name, ranks, zero] :
       {std::tuple{"bits_one", 2, "1"}, {"bits_two", 4, "2"}, {"bits_three", 4, "3"}}) {
    trained(ranks, name, with({"parallel.expert=2", std::string("parallel.zero=") + zero}));
    expect_equal("bits", name);
  }
}

// Stopped on ranks that share experts and gone on with on one, and the other way round.
TEST_F(ExpertParallelProgram, SparseExpertsFollowOneProcessAndGoOnWithAndWithoutShares) {
  for (const std::string method : {"static", "rigl"}) {
    const std::string one = method + "_one", two = method + "_two";
    const auto run = [&](bool shared, const std::string& name) {
      std::vector<std::string> settings = {"sparsity.method=" + method, "sparsity.sparsity=0.5",
                                           "sparsity.interval=5", "sparsity.scoring_steps=2"};
      if (shared) settings.insert(settings.end(), {"parallel.expert=2", "parallel.zero=1"});
      return trained(shared ? 2 : 1, name, with(settings));
    };
    run(false, one);
    run(true, two);
    // Where two scores are nearly equal, rounding decides which weight is grown.
    const double tolerance = method == "static" ? 1e-5 : 1e-3;
    expect_follows(two, one, tolerance);
    EXPECT_EQ(topology_hashes(two).size(), topology_hashes(one).size());
    for (const std::string& name : {two, one}) {
      go_back(name, 10);
      const Outcome ended = run(name == one, name);
      EXPECT_TRUE(has(ended.err, "step-000010")) << ended.err;
    }
    expect_follows(two, one, tolerance);
  }
}

TEST_F(ExpertParallelProgram, IsExportedAsAMixtralLikeAnyOther) {
  trained(2, "exported", with({"parallel.expert=2"}));
  const Outcome exported = run_fern({"export", path("exported"), "--out", path("folder")});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  EXPECT_TRUE(has(exported.out, "read back through a second implementation")) << exported.out;
  // And trained on from there, again by ranks that share experts.
  ASSERT_EQ(run_fern({"import", path("folder"), "--out", path("imported")}).exit_code, 0);
  // A Mixtral has one feed-forward size.
  trained(2, "again", with({"parallel.expert=2", "model.ffn=32", "model.weights=" + path("imported")}));
  EXPECT_LT(metrics("again").front().at("loss").get<double>(),
            metrics("exported").front().at("loss").get<double>() - 0.5);
}

// Training steps too small to move a weight: what two ranks saved of their shares is what one saved of all.
TEST_F(ExpertParallelProgram, ExportsHaveTheSameBytesWhoeverHeldTheExperts) {
  for (const bool qwen : {false, true}) {
    const std::string family = qwen ? "qwen" : "mixtral";
    const auto run = [&](const std::string& name, std::vector<std::string> settings) {
      if (qwen) settings.insert(settings.end(), {"model.qk_norm=true", "model.experts.every=2"});
      trained(2, family + name, with(settings));
    };
    run("_from", {"parallel.expert=2"});
    for (const std::string shares : {"1", "2"}) {
      run(shares, {"parallel.expert=" + shares, "model.weights=" + path(family + "_from"), "train.steps=1",
                   "optimizer.warmup_steps=1", "optimizer.learning_rate=1e-12", "optimizer.weight_decay=0",
                   "optimizer.epsilon=1", "optimizer.clip_norm=1e-9"});
      const std::string folder = path(family + shares) + "/export";
      const Outcome exported = run_fern({"export", path(family + shares), "--out", folder});
      ASSERT_EQ(exported.exit_code, 0) << exported.err;
      ASSERT_EQ(run_fern({"import", folder, "--out", path(family + shares) + "/import"}).exit_code, 0);
      EXPECT_EQ(weights_hash(path(family + shares) + "/import/step-000000"),
                weights_hash(checkpoints(family + "_from").back()));
    }
    int files = 0;
    for (const auto& file : std::filesystem::directory_iterator(path(family + "1") + "/export")) {
      EXPECT_EQ(text_of(file.path()),
                text_of(path(family + "2") + "/export/" + file.path().filename().string()))
          << file.path();
      ++files;
    }
    EXPECT_GE(files, 5);
  }
}

// All experts are used by every token, so the plan, which takes experts for balanced, is exact but for
// padding.
TEST_F(ExpertParallelProgram, SendsWhatThePlanSays) {
  const std::vector<std::string> all = with({"parallel.expert=2", "model.experts.active=4"});
  trained(2, "planned", all);
  std::vector<std::string> words = {"plan", path("recipe.toml"), "--no-calibration", "--ranks", "2"};
  for (const std::string& word : set(all)) words.push_back(word);
  const Outcome plan = run_fern(words);
  ASSERT_EQ(plan.exit_code, 0) << plan.err;
  // Of 2 layers: 5 rows of 32 values and 2 gates; and 4 counts a micro-batch from each rank. 8 x 96
  // positions.
  const int64_t row_bytes = 2 * (5 * 32 * 4 + 2 * 4), counts_bytes = 2 * 4 * 4 * 4;
  EXPECT_TRUE(has(plan.out, fmt::format("with balanced experts: {} bytes; {} of each row",
                                        8 * 96 * 2 * row_bytes + counts_bytes, row_bytes)))
      << plan.out;
  EXPECT_TRUE(has(plan.out, "2 of data share experts")) << plan.out;
  // Rank 0 has 2 of its 4 micro-batches, and sends what the counts are, 2 rows of each of its tokens, and
  // what came from the others' tokens; both ranks together send 2 rows of each token.
  const nlohmann::json step = metrics("planned").at(0);
  const int64_t sent = step.at("expert_sent_bytes"), tokens = step.at("tokens");
  EXPECT_GT(sent, counts_bytes / 2);
  EXPECT_LT(sent, counts_bytes / 2 + tokens * 2 * row_bytes);
}

TEST_F(ExpertParallelProgram, WhatCannotBeSharedIsRefusedWithWhatCan) {
  expect_refused(2, with({"parallel.expert=3"}), "parallel.expert = 3 does not divide parallel.data = 2");
  expect_refused(2, with({"parallel.expert=8"}), "expected 1 to 4 (model.experts.count)");
  expect_refused(2, with({"parallel.expert=2", "model.experts.count=0"}), "the model has no experts");
  expect_refused(2, with({"parallel.expert=2", "sparsity.method=gradual", "sparsity.global=true"}),
                 "expected parallel.expert = 1, or sparsity.global = false");
}

}  // namespace
}  // namespace fern
