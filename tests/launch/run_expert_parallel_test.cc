// The program on ranks that share experts.
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

std::vector<std::string> with(std::vector<std::string> settings) {
  std::vector<std::string> words;
  for (const std::string setting :
       {"model.experts.count=4", "model.experts.ffn=32", "model.experts.balance_loss=0.01",
        "model.experts.log_every=5", "train.steps=20", "checkpoint.every=10", "checkpoint.keep=0"})
    words.insert(words.end(), {"--set", setting});
  for (const std::string& setting : settings) words.insert(words.end(), {"--set", setting});
  return words;
}

class ExpertParallelProgram : public Run {
 protected:
  static std::vector<nlohmann::json> metrics(const std::string& run) {
    std::vector<nlohmann::json> steps;
    std::ifstream lines(folder_ / run / "metrics.jsonl");
    for (std::string line; std::getline(lines, line);) steps.push_back(nlohmann::json::parse(line));
    return steps;
  }
  // Every step's loss near the other run's, and what is told of experts by language.
  static void expect_near(const std::string& run, const std::string& reference, double tolerance = 1e-5) {
    const auto steps = metrics(run), others = metrics(reference);
    ASSERT_EQ(steps.size(), others.size());
    for (size_t i = 0; i < steps.size(); ++i) {
      const double expected = others[i].at("loss");
      EXPECT_NEAR(steps[i].at("loss").get<double>(), expected, tolerance * expected) << "step " << i + 1;
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
  ASSERT_EQ(run_fern(train("alone", with({}))).exit_code, 0);
  const Outcome two = run_fern_on(2, train("two", with({"parallel.expert=2"})));
  ASSERT_EQ(two.exit_code, 0) << two.err;
  EXPECT_TRUE(has(two.err, "2 of which share the experts")) << two.err;
  expect_near("two", "alone");
  const Outcome four = run_fern_on(4, train("four", with({"parallel.expert=2"})));
  ASSERT_EQ(four.exit_code, 0) << four.err;
  expect_near("four", "alone");
  // 4 experts on 3 ranks.
  const Outcome uneven =
      run_fern_on(3, train("uneven", with({"parallel.expert=3", "batch.sequences=6",
                                           "batch.micro_sequences=2", "batch.reduction_shards=3"})));
  ASSERT_EQ(uneven.exit_code, 0) << uneven.err;
  ASSERT_EQ(run_fern(train("uneven_alone", with({"batch.sequences=6", "batch.micro_sequences=2",
                                                 "batch.reduction_shards=3"})))
                .exit_code,
            0);
  expect_near("uneven", "uneven_alone");
  for (const bool begins_shared : {true, false}) {
    const std::string name = begins_shared ? "two" : "alone";
    std::filesystem::remove_all(checkpoints(name).back());
    const Outcome ended = begins_shared ? run_fern(train(name, with({})))
                                        : run_fern_on(2, train(name, with({"parallel.expert=2"})));
    ASSERT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_TRUE(has(ended.err, "step-000010")) << ended.err;
  }
  expect_near("two", "four");
  expect_near("alone", "four");
}

TEST_F(ExpertParallelProgram, ZeroAndDataChangeNoBit) {
  ASSERT_EQ(run_fern_on(2, train("bits", with({"parallel.expert=2"}))).exit_code, 0);
  const auto expect_same = [](int ranks, const std::string& name, const std::string& zero) {
    const Outcome outcome =
        run_fern_on(ranks, train(name, with({"parallel.expert=2", "parallel.zero=" + zero})));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    expect_equal("bits", name);
  };
  expect_same(2, "bits_one", "1");
  expect_same(4, "bits_two", "2");
  expect_same(4, "bits_three", "3");
}

// Stopped on ranks that share experts and gone on with on one, and the other way round.
TEST_F(ExpertParallelProgram, SparseExpertsFollowOneProcessAndGoOnWithAndWithoutShares) {
  for (const std::string method : {"static", "rigl"}) {
    const auto run = [&](bool shared, const std::string& name) {
      std::vector<std::string> settings = {"sparsity.method=" + method, "sparsity.sparsity=0.5",
                                           "sparsity.interval=5", "sparsity.scoring_steps=2"};
      if (shared) settings.insert(settings.end(), {"parallel.expert=2", "parallel.zero=1"});
      return shared ? run_fern_on(2, train(method + name, with(settings)))
                    : run_fern(train(method + name, with(settings)));
    };
    for (const bool shared : {false, true}) {
      const Outcome outcome = run(shared, shared ? "_two" : "_one");
      ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    }
    // Where two scores are nearly equal, rounding decides which weight is grown.
    const double tolerance = method == "static" ? 1e-5 : 1e-3;
    expect_near(method + "_two", method + "_one", tolerance);
    EXPECT_EQ(topology_hashes(method + "_two").size(), topology_hashes(method + "_one").size());
    for (const bool begins_shared : {true, false}) {
      const std::string name = begins_shared ? "_two" : "_one";
      std::filesystem::remove_all(checkpoints(method + name).back());
      const Outcome ended = run(!begins_shared, name);
      ASSERT_EQ(ended.exit_code, 0) << ended.err;
      EXPECT_TRUE(has(ended.err, "step-000010")) << ended.err;
    }
    expect_near(method + "_two", method + "_one", tolerance);
  }
}

TEST_F(ExpertParallelProgram, IsExportedAsAMixtralLikeAnyOther) {
  ASSERT_EQ(run_fern_on(2, train("exported", with({"parallel.expert=2"}))).exit_code, 0);
  const Outcome exported = run_fern({"export", path("exported"), "--out", path("folder")});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  EXPECT_TRUE(has(exported.out, "read back through a second implementation")) << exported.out;
  // And trained on from there, again by ranks that share experts.
  ASSERT_EQ(run_fern({"import", path("folder"), "--out", path("imported")}).exit_code, 0);
  // A Mixtral has one feed-forward size.
  const Outcome again = run_fern_on(
      2, train("again", with({"parallel.expert=2", "model.ffn=32", "model.weights=" + path("imported")})));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_LT(metrics("again").front().at("loss").get<double>(),
            metrics("exported").front().at("loss").get<double>() - 0.5);
}

// Training steps too small to move a weight: what two ranks saved of their shares is what one saved of all.
TEST_F(ExpertParallelProgram, ExportsHaveTheSameBytesWhoeverHeldTheExperts) {
  for (const bool qwen : {false, true}) {
    const std::string family = qwen ? "qwen" : "mixtral";
    const auto run = [&](const std::string& name, std::vector<std::string> settings) {
      if (qwen) settings.insert(settings.end(), {"model.qk_norm=true", "model.experts.every=2"});
      return train(family + name, with(settings));
    };
    ASSERT_EQ(run_fern_on(2, run("_from", {"parallel.expert=2"})).exit_code, 0);
    for (const std::string shares : {"1", "2"}) {
      const Outcome still = run_fern_on(
          2, run(shares, {"parallel.expert=" + shares, "model.weights=" + path(family + "_from"),
                          "train.steps=1", "optimizer.warmup_steps=1", "optimizer.learning_rate=1e-12",
                          "optimizer.weight_decay=0", "optimizer.epsilon=1", "optimizer.clip_norm=1e-9"}));
      ASSERT_EQ(still.exit_code, 0) << still.err;
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
  const Outcome outcome = run_fern_on(2, train("planned", all));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  std::vector<std::string> words = {"plan", path("recipe.toml"), "--no-calibration", "--ranks", "2"};
  words.insert(words.end(), all.begin(), all.end());
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
  const auto refuse = [](int ranks, const std::vector<std::string>& settings, const std::string& text) {
    const Outcome outcome = run_fern_on(ranks, train("refused", with(settings)));
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_TRUE(has(outcome.err, text)) << outcome.err;
  };
  refuse(2, {"parallel.expert=3"}, "parallel.expert = 3 does not divide parallel.data = 2");
  refuse(2, {"parallel.expert=8"}, "expected 1 to 4 (model.experts.count)");
  refuse(2, {"parallel.expert=2", "model.experts.count=0"}, "the model has no experts");
  refuse(2, {"parallel.expert=2", "sparsity.method=gradual", "sparsity.global=true"},
         "expected parallel.expert = 1, or sparsity.global = false");
}

}  // namespace
}  // namespace fern
