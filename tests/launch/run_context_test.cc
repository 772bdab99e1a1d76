// The program on ranks that share sequences.
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <tuple>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

class ContextRun : public Run {
 protected:
  static std::vector<std::string> shares(int64_t shares, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--set", "parallel.context=" + std::to_string(shares)});
    return more;
  }
  static std::vector<nlohmann::json> metrics(const std::string& run) {
    std::vector<nlohmann::json> steps;
    std::ifstream lines(folder_ / run / "metrics.jsonl");
    for (std::string line; std::getline(lines, line);) steps.push_back(nlohmann::json::parse(line));
    return steps;
  }
  // Every step's loss, of the batch and of each language, is that of the other run.
  static void expect_near(const std::string& run, const std::string& reference, double tolerance = 1e-5) {
    const auto steps = metrics(run), whole = metrics(reference);
    ASSERT_EQ(steps.size(), whole.size());
    for (size_t i = 0; i < steps.size(); ++i) {
      const double expected = whole[i].at("loss");
      EXPECT_NEAR(steps[i].at("loss").get<double>(), expected, tolerance * expected) << "step " << i + 1;
      for (const auto& [language, loss] : whole[i].at("language_loss").items()) {
        if (!loss.is_number()) continue;
        EXPECT_NEAR(steps[i].at("language_loss").at(language).get<double>(), loss.get<double>(),
                    tolerance * loss.get<double>())
            << language << ", step " << i + 1;
      }
    }
    const auto ledger = [&](const std::string& name) {
      return nlohmann::json::parse(text_of(folder_ / name / "ledger.json"));
    };
    EXPECT_EQ(ledger(run), ledger(reference));
  }
};

TEST_F(ContextRun, TwoSharesFollowOneProcess) {
  const Outcome outcome = run_fern_on(2, train("two", shares(2)));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "2 of which share each sequence")) << outcome.err;
  expect_near("two", "whole");
}

TEST_F(ContextRun, SharesBesideDataHaveTheBitsOfSharesAloneInEveryZeroStage) {
  for (const auto& [name, ranks, zero] :
       {std::tuple{"alone", 2, "1"}, {"beside", 4, "1"}, {"gradients", 4, "2"}, {"values", 2, "3"}}) {
    const Outcome outcome =
        run_fern_on(ranks, train(name, shares(2, {"--set", std::string("parallel.zero=") + zero})));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    expect_equal("alone", name);
  }
  expect_near("alone", "whole");
}

// Beside each share of sequences the data ranks share experts.
TEST_F(ContextRun, SharesOfExpertsFollowOneProcess) {
  const std::vector<std::string> experts = {"--set", "model.experts.count=4", "--set",
                                            "model.experts.ffn=32"};
  std::vector<std::string> shared = shares(2, experts);
  shared.insert(shared.end(), {"--set", "parallel.expert=2"});
  ASSERT_EQ(run_fern(train("experts_one", experts)).exit_code, 0);
  const Outcome outcome = run_fern_on(4, train("experts_four", shared));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_near("experts_four", "experts_one");
}

// Stopped on one layout, gone on with on the other.
TEST_F(ContextRun, GoesOnWithAndWithoutShares) {
  for (const bool begins_shared : {true, false}) {
    const std::string name = begins_shared ? "from_shares" : "to_shares";
    const auto run = [&](bool shared) {
      return shared ? run_fern_on(2, train(name, shares(2))) : run_fern(train(name));
    };
    const Outcome begun = run(begins_shared);
    ASSERT_EQ(begun.exit_code, 0) << begun.err;
    for (const auto& checkpoint : checkpoints(name))
      if (checkpoint.filename() != "step-000020") std::filesystem::remove_all(checkpoint);
    const Outcome ended = run(!begins_shared);
    ASSERT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_TRUE(has(ended.err, "step-000020")) << ended.err;
    expect_near(name, "whole");
  }
}

// Weights and patterns are the same on all ranks of a sequence, and the scores of both halves decide.
TEST_F(ContextRun, SparseWeightsFollowOneProcess) {
  for (const char* method : {"static", "rigl"}) {
    const std::vector<std::string> sparse = {"--set", fmt::format("sparsity.method={}", method),
                                             "--set", "sparsity.sparsity=0.5",
                                             "--set", "sparsity.interval=10",
                                             "--set", "sparsity.scoring_steps=2"};
    const std::string one = std::string(method) + "_one", two = std::string(method) + "_two";
    const Outcome alone = run_fern(train(one, sparse));
    ASSERT_EQ(alone.exit_code, 0) << alone.err;
    const Outcome shared = run_fern_on(2, train(two, shares(2, sparse)));
    ASSERT_EQ(shared.exit_code, 0) << shared.err;
    EXPECT_EQ(topology_hashes(two).size(), topology_hashes(one).size());
    // Where two scores are nearly equal, rounding decides which weight is grown.
    expect_near(two, one, std::string(method) == "static" ? 1e-5 : 1e-3);
  }
}

// What rank 0 counts is half of what the plan says of both.
TEST_F(ContextRun, SendsWhatThePlanSays) {
  const Outcome outcome = run_fern_on(2, train("planned", shares(2, {"--set", "train.steps=5"})));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json step = metrics("planned").at(0);
  // Keys and values of half of 2 sequences, 2 heads of 8 values each.
  const int64_t micro_batches = 4, layers = 2, block_bytes = 2 * 96 / 2 * (2 * 2 * 8) * 4;
  // One in forward; one, and two of gradients, in backward.
  const int64_t bytes = micro_batches * layers * 4 * block_bytes;
  EXPECT_EQ(step.at("context_sent_bytes").get<int64_t>(), bytes);
  const Outcome plan = run_fern(
      {"plan", path("recipe.toml"), "--no-calibration", "--ranks", "2", "--set", "parallel.context=2"});
  ASSERT_EQ(plan.exit_code, 0) << plan.err;
  EXPECT_TRUE(has(plan.out, "context axis sends")) << plan.out;
  EXPECT_TRUE(has(plan.out, fmt::format("({} bytes)", 2 * bytes))) << plan.out;
  EXPECT_TRUE(has(plan.out, fmt::format("({} bytes)", 2 * step.at("sent_bytes").get<int64_t>()))) << plan.out;
  EXPECT_TRUE(has(plan.out, "1 data x 2 context")) << plan.out;
}

TEST_F(ContextRun, WhatCannotBeSharedIsRefusedWithWhatCan) {
  const Outcome context = run_fern_on(3, train("refused", shares(3, {"--set", "model.context=100"})));
  EXPECT_EQ(context.exit_code, 2);
  EXPECT_TRUE(has(context.err, "6 does not divide model.context = 100; set model.context = 96 or 102"))
      << context.err;
  EXPECT_TRUE(has(context.err, "one of 1, 2, 5, 10, 25, 50")) << context.err;
  const Outcome ranks = run_fern_on(3, train("refused", shares(2)));
  EXPECT_EQ(ranks.exit_code, 2);
  EXPECT_TRUE(has(ranks.err, "does not divide the 3 ranks; start 4 (mpirun -n 4)")) << ranks.err;
  const Outcome capped = run_fern(train("refused", shares(2, {"--set", "model.experts.count=4", "--set",
                                                              "model.experts.capacity_factor=1.5"})));
  EXPECT_EQ(capped.exit_code, 2);
  EXPECT_TRUE(has(capped.err, "set model.experts.capacity_factor = 0")) << capped.err;
}

}  // namespace
}  // namespace fern
