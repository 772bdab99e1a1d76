// The program on ranks that share matrices.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

class TensorRun : public Run {
 protected:
  static std::vector<std::string> shares(int64_t shares, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--set", "parallel.tensor=" + std::to_string(shares)});
    return more;
  }
  static std::vector<nlohmann::json> metrics(const std::string& run) {
    std::vector<nlohmann::json> steps;
    std::ifstream lines(folder_ / run / "metrics.jsonl");
    for (std::string line; std::getline(lines, line);) steps.push_back(nlohmann::json::parse(line));
    return steps;
  }
  // Every step's loss within 1e-5 of the run's on one process.
  static void expect_near_whole(const std::string& run, const std::string& of_one = "whole") {
    const auto steps = metrics(run), whole = metrics(of_one);
    ASSERT_EQ(steps.size(), whole.size());
    for (size_t i = 0; i < steps.size(); ++i) {
      const double expected = whole[i].at("loss");
      EXPECT_NEAR(steps[i].at("loss").get<double>(), expected, 1e-5 * expected) << "step " << i + 1;
    }
  }
};

TEST_F(TensorRun, TwoSharesFollowOneProcess) {
  const Outcome outcome = run_fern_on(2, train("two", shares(2)));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "2 of which share each matrix")) << outcome.err;
  expect_near_whole("two");
}

TEST_F(TensorRun, SharesBesideDataFollowOneProcess) {
  const Outcome outcome = run_fern_on(4, train("four", shares(2, {"--set", "parallel.zero=1"})));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_near_whole("four");
}

// Stopped on one layout, gone on with on the other.
TEST_F(TensorRun, GoesOnWithAndWithoutShares) {
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
    expect_near_whole(name);
  }
}

// RigL at 80 %: an update every 3 steps, whose scores are gathered over the 2 steps before; stopped and gone
// on with on the other layout between these.
TEST_F(TensorRun, SparseSharesFollowOneProcess) {
  std::vector<std::string> sparse;
  for (const char* setting :
       {"sparsity.method=rigl", "sparsity.sparsity=0.8", "sparsity.interval=3", "sparsity.scoring_steps=2",
        "train.steps=12", "checkpoint.every=5", "checkpoint.keep=0"})
    sparse.insert(sparse.end(), {"--set", setting});
  const auto run = [&](const std::string& name, bool shared) {
    const Outcome outcome =
        shared ? run_fern_on(2, train(name, shares(2, sparse))) : run_fern(train(name, sparse));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  };
  run("sparse_whole", false);
  const std::vector<std::string> topologies = topology_hashes("sparse_whole");
  EXPECT_GE(topologies.size(), 3u);
  run("sparse_two", true);
  expect_near_whole("sparse_two", "sparse_whole");
  EXPECT_EQ(topology_hashes("sparse_two"), topologies);
  for (const bool begins_shared : {true, false}) {
    const std::string name = begins_shared ? "sparse_two" : "sparse_whole";
    for (const auto& checkpoint : checkpoints(name))
      if (checkpoint.filename() > "step-000005") std::filesystem::remove_all(checkpoint);
    const auto before = metrics("sparse_whole");
    run(name, !begins_shared);
    EXPECT_EQ(topology_hashes(name), topologies);
    const auto after = metrics(name);
    ASSERT_EQ(after.size(), before.size());
    for (size_t i = 0; i < after.size(); ++i) {
      const double expected = before[i].at("loss");
      EXPECT_NEAR(after[i].at("loss").get<double>(), expected, 1e-5 * expected) << name << " step " << i + 1;
    }
  }
}

// What rank 0 counts is half of what the plan says of both.
TEST_F(TensorRun, SendsWhatThePlanSays) {
  const Outcome outcome = run_fern_on(2, train("planned", shares(2, {"--set", "train.steps=5"})));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
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
  const Outcome heads = run_fern_on(3, train("refused", shares(3)));
  EXPECT_EQ(heads.exit_code, 2);
  EXPECT_TRUE(has(heads.err,
                  "it must divide model.kv_heads = 2: 1, 2; or set model.heads (now 4) and model.kv_heads to "
                  "multiples of 3"))
      << heads.err;
  const Outcome few = run_fern_on(4, train("refused", shares(4)));
  EXPECT_EQ(few.exit_code, 2);
  EXPECT_TRUE(has(few.err, "or set model.kv_heads to one of 4 (model.heads = 4)")) << few.err;
  const Outcome ranks = run_fern_on(3, train("refused", shares(2)));
  EXPECT_EQ(ranks.exit_code, 2);
  EXPECT_TRUE(has(ranks.err, "does not divide the 3 ranks; start 4 (mpirun -n 4)")) << ranks.err;
  const Outcome sparse = run_fern(
      train("refused", shares(2, {"--set", "sparsity.method=set", "--set", "sparsity.global=true"})));
  EXPECT_EQ(sparse.exit_code, 2);
  EXPECT_TRUE(has(sparse.err, "sparsity.global = false")) << sparse.err;
}

}  // namespace
}  // namespace fern
