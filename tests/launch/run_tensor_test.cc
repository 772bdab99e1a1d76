// The program on ranks that share matrices.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

using TensorRun = Run;

TEST_F(TensorRun, TwoSharesFollowOneProcess) {
  const Outcome outcome = trained(2, "two", {"parallel.tensor=2"});
  EXPECT_TRUE(has(outcome.err, "2 of which share each matrix")) << outcome.err;
  expect_near("two");
}

TEST_F(TensorRun, SharesBesideDataFollowOneProcess) {
  trained(4, "four", {"parallel.tensor=2", "parallel.zero=1"});
  expect_near("four");
}

// Stopped on one layout, gone on with on the other.
TEST_F(TensorRun, GoesOnWithAndWithoutShares) {
  trained(2, "from_shares", {"parallel.tensor=2"});
  trained(1, "to_shares");
  for (const std::string name : {"from_shares", "to_shares"}) {
    go_back(name, 20);
    const Outcome ended = name == "to_shares" ? trained(2, name, {"parallel.tensor=2"}) : trained(1, name);
    EXPECT_TRUE(has(ended.err, "step-000020")) << ended.err;
    expect_near(name);
  }
}

// RigL at 80 %: an update every 3 steps, whose scores are gathered over the 2 steps before; stopped and gone
// on with on the other layout between these.
TEST_F(TensorRun, SparseSharesFollowOneProcess) {
  const std::vector<std::string> sparse = {
      "sparsity.method=rigl", "sparsity.sparsity=0.8", "sparsity.interval=3", "sparsity.scoring_steps=2",
      "train.steps=12",       "checkpoint.every=5",    "checkpoint.keep=0"};
  std::vector<std::string> shared = sparse;
  shared.push_back("parallel.tensor=2");
  trained(1, "sparse_whole", sparse);
  trained(2, "sparse_two", shared);
  const std::vector<std::string> topologies = topology_hashes("sparse_whole");
  EXPECT_GE(topologies.size(), 3u);
  EXPECT_EQ(topology_hashes("sparse_two"), topologies);
  expect_near("sparse_two", "sparse_whole");
  for (const std::string name : {"sparse_whole", "sparse_two"}) {
    std::filesystem::copy(path(name), path(name + "_on"), std::filesystem::copy_options::recursive);
    go_back(name + "_on", 5);
    if (name == "sparse_whole")
      trained(2, name + "_on", shared);
    else
      trained(1, name + "_on", sparse);
    EXPECT_EQ(topology_hashes(name + "_on"), topologies);
    expect_near(name + "_on", "sparse_whole");
  }
}

// What rank 0 counts is half of what the plan says of both.
TEST_F(TensorRun, SendsWhatThePlanSays) {
  trained(2, "planned", {"parallel.tensor=2", "train.steps=5"});
  const nlohmann::json step = metrics("planned").at(0);
  const int64_t micro_batches = 4, rows_bytes = 2 * 96 / 2 * 32 * 4, norm_bytes = 32 * 4;
  // Of 2 layers, 4 blocks: 5 exchanges of half the rows each, and 4 beside; 5 norms; 24 bytes a target.
  const int64_t fixed = micro_batches * ((4 * 5 + 4) * rows_bytes + 5 * norm_bytes);
  EXPECT_EQ(step.at("tensor_sent_bytes").get<int64_t>(), fixed + 24 * step.at("loss_tokens").get<int64_t>());
  const Outcome plan = run_fern(
      {"plan", path("recipe.toml"), "--no-calibration", "--ranks", "2", "--set", "parallel.tensor=2"});
  ASSERT_EQ(plan.exit_code, 0) << plan.err;
  EXPECT_TRUE(has(plan.out, fmt::format("({} bytes, and 48 for each target)", 2 * fixed))) << plan.out;
  EXPECT_TRUE(has(plan.out, "1 data x 2 tensor")) << plan.out;
}

TEST_F(TensorRun, WhatCannotBeSharedIsRefusedWithWhatCan) {
  expect_refused(3, {"parallel.tensor=3"},
                 "it must divide model.kv_heads = 2: 1, 2; or set model.heads (now 4) and model.kv_heads to "
                 "multiples of 3");
  expect_refused(4, {"parallel.tensor=4"}, "or set model.kv_heads to one of 4 (model.heads = 4)");
  expect_refused(3, {"parallel.tensor=2"}, "does not divide the 3 ranks; start 4 (mpirun -n 4)");
  expect_refused(1, {"parallel.tensor=2", "sparsity.method=set", "sparsity.global=true"},
                 "sparsity.global = false");
}

}  // namespace
}  // namespace fern
