// The program on the stages of a pipeline.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fstream>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

class PipelineRun : public Run {
 protected:
  static std::vector<std::string> stages(int64_t stages, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--set", fmt::format("parallel.pipeline={}", stages)});
    return more;
  }
};

TEST_F(PipelineRun, TwoStagesEqualOneProcess) {
  const Outcome outcome = run_fern_on(2, train("two", stages(2)));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "in 2 stages of 1")) << outcome.err;
  expect_equals_whole("two");
}

// What rank 0 counts is what the plan says of its stage.
TEST_F(PipelineRun, SendsWhatThePlanSays) {
  const Outcome outcome = run_fern_on(4, train("planned", stages(2, {"--set", "train.steps=5"})));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  std::ifstream lines(folder_ / "planned" / "metrics.jsonl");
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const auto step = nlohmann::json::parse(line);
  const int64_t micro_batches = 4 / 2, tensor_bytes = 2 * 96 * 32 * 4;
  EXPECT_EQ(step.at("pipeline_sent_bytes"), micro_batches * 2 * tensor_bytes)
      << "activations to the second stage, and the embedded inputs' gradient";
  const Outcome plan = run_fern(
      {"plan", path("recipe.toml"), "--no-calibration", "--ranks", "4", "--set", "parallel.pipeline=2"});
  ASSERT_EQ(plan.exit_code, 0) << plan.err;
  const int64_t all = 2 * (micro_batches * 3 * tensor_bytes + 420 * 32 * 4);
  EXPECT_TRUE(has(plan.out, fmt::format("({} bytes)", all))) << plan.out;
  EXPECT_TRUE(has(plan.out, "2 stage(s) x 2 data")) << plan.out;
  EXPECT_TRUE(has(plan.out, "pipeline idle")) << plan.out;
}

TEST_F(PipelineRun, WhatCannotBeSplitIsRefusedWithWhatCan) {
  const Outcome layers = run_fern_on(3, train("refused", stages(3)));
  EXPECT_EQ(layers.exit_code, 2);
  EXPECT_TRUE(has(layers.err, "expected 1 to 2 (model.layers)")) << layers.err;
  const Outcome ranks = run_fern_on(3, train("refused", stages(2)));
  EXPECT_EQ(ranks.exit_code, 2);
  EXPECT_TRUE(has(ranks.err, "does not divide the 3 ranks; start 4 (mpirun -n 4)")) << ranks.err;
  const Outcome sparse = run_fern(train("refused", stages(2, {"--set", "sparsity.method=static"})));
  EXPECT_EQ(sparse.exit_code, 2);
  EXPECT_TRUE(has(sparse.err, "sparsity.method = \"dense\"")) << sparse.err;
}

}  // namespace
}  // namespace fern
