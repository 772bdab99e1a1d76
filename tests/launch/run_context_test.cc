// The program on ranks that share sequences.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <tuple>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

using ContextRun = Run;

TEST_F(ContextRun, TwoSharesFollowOneProcess) {
  const Outcome outcome = trained(2, "two", {"parallel.context=2"});
  EXPECT_TRUE(has(outcome.err, "2 of which share each sequence")) << outcome.err;
  expect_near("two");
}

TEST_F(ContextRun, SharesBesideDataHaveTheBitsOfSharesAloneInEveryZeroStage) {
  for (const auto& [name, ranks, zero] :
       {std::tuple{"alone", 2, "1"}, {"beside", 4, "1"}, {"gradients", 4, "2"}, {"values", 2, "3"}}) {
    trained(ranks, name, {"parallel.context=2", std::string("parallel.zero=") + zero});
    expect_equal("alone", name);
  }
  expect_near("alone");
}

// Beside each share of sequences the data ranks share experts.
TEST_F(ContextRun, SharesOfExpertsFollowOneProcess) {
  trained(1, "experts_one", {"model.experts.count=4", "model.experts.ffn=32"});
  trained(4, "experts_four",
          {"model.experts.count=4", "model.experts.ffn=32", "parallel.context=2", "parallel.expert=2"});
  expect_near("experts_four", "experts_one");
}

// Stopped on one layout, gone on with on the other.
TEST_F(ContextRun, GoesOnWithAndWithoutShares) {
  trained(2, "from_shares", {"parallel.context=2"});
  trained(1, "to_shares");
  for (const std::string name : {"from_shares", "to_shares"}) {
    go_back(name, 20);
    const Outcome ended = name == "to_shares" ? trained(2, name, {"parallel.context=2"}) : trained(1, name);
    EXPECT_TRUE(has(ended.err, "step-000020")) << ended.err;
    expect_near(name);
  }
}

// Weights and patterns are the same on all ranks of a sequence, and the scores of both halves decide.
TEST_F(ContextRun, SparseWeightsFollowOneProcess) {
  for (const std::string method : {"static", "rigl"}) {
    const std::string one = method + "_one", two = method + "_two";
    std::vector<std::string> sparse = {"sparsity.method=" + method, "sparsity.sparsity=0.5",
                                       "sparsity.interval=10", "sparsity.scoring_steps=2"};
    trained(1, one, sparse);
    sparse.push_back("parallel.context=2");
    trained(2, two, sparse);
    EXPECT_EQ(topology_hashes(two).size(), topology_hashes(one).size());
    // Where two scores are nearly equal, rounding decides which weight is grown.
    expect_near(two, one, method == "static" ? 1e-5 : 1e-3);
  }
}

// What rank 0 counts is half of what the plan says of both.
TEST_F(ContextRun, SendsWhatThePlanSays) {
  trained(2, "planned", {"parallel.context=2", "train.steps=5"});
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
  for (const std::string reason :
       {"6 does not divide model.context = 100; set model.context = 96 or 102", "one of 1, 2, 5, 10, 25, 50"})
    expect_refused(3, {"parallel.context=3", "model.context=100"}, reason);
  expect_refused(3, {"parallel.context=2"}, "does not divide the 3 ranks; start 4 (mpirun -n 4)");
  expect_refused(1, {"parallel.context=2", "model.experts.count=4", "model.experts.capacity_factor=1.5"},
                 "set model.experts.capacity_factor = 0");
}

}  // namespace
}  // namespace fern
