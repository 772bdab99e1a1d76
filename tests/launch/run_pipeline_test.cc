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

// Of the tied embedding the last stage keeps slices, and the first a copy.
TEST_F(PipelineRun, StagesOfSlicedWeightsEqualOneProcess) {
  const Outcome outcome = run_fern_on(4, train("sliced", stages(2, {"--set", "parallel.zero=3"})));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_equals_whole("sliced");
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

// Two parts of the layers on each stage: the result of one process, what is planned is what is sent, and one
// layout goes on where another stopped.
TEST_F(PipelineRun, PartsGoRoundTheStagesAndGoOnAlone) {
  const std::vector<std::string> deeper = {"--set", "model.layers=5",   "--set", "batch.reduction_shards=2",
                                           "--set", "train.steps=12",   "--set", "checkpoint.every=5",
                                           "--set", "checkpoint.keep=0"};
  std::vector<std::string> parts = stages(2, deeper);
  parts.insert(parts.end(), {"--set", "parallel.virtual_stages=2"});
  ASSERT_EQ(run_fern(train("deep", deeper)).exit_code, 0);
  const Outcome two = run_fern_on(2, train("parts", parts));
  ASSERT_EQ(two.exit_code, 0) << two.err;
  EXPECT_TRUE(has(two.err, "in 2 stages x 2 parts of the layers of 1")) << two.err;
  expect_equal("deep", "parts");
  std::ifstream lines(folder_ / "parts" / "metrics.jsonl");
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const int64_t micro_batches = 4, tensor_bytes = 2 * 96 * 32 * 4;
  EXPECT_EQ(nlohmann::json::parse(line).at("pipeline_sent_bytes"), micro_batches * 4 * tensor_bytes)
      << "two parts' activations, one's gradient, and the embedded inputs'";
  std::vector<std::string> words = {"plan", path("recipe.toml"), "--no-calibration", "--ranks", "2"};
  words.insert(words.end(), parts.begin(), parts.end());
  const Outcome plan = run_fern(words);
  ASSERT_EQ(plan.exit_code, 0) << plan.err;
  EXPECT_TRUE(has(plan.out, fmt::format("({} bytes)", micro_batches * 7 * tensor_bytes + 420 * 32 * 4)))
      << plan.out;
  EXPECT_TRUE(has(plan.out, "layers 0 to 0, 2 to 3, copy of the embedding")) << plan.out;
  EXPECT_TRUE(has(plan.out, "with equal parts 11.1 %, (P - 1) / (V m) = 0.125 of the time at work"))
      << plan.out;
  for (const std::string run : {"deep", "parts"}) {
    const std::string broken = run + "_broken";
    std::filesystem::copy(folder_ / run, folder_ / broken, std::filesystem::copy_options::recursive);
    for (const auto& checkpoint : checkpoints(broken))
      if (checkpoint.filename() != "step-000005") std::filesystem::remove_all(checkpoint);
    const Outcome ended =
        run == "deep" ? run_fern_on(4, train(broken, parts)) : run_fern(train(broken, deeper));
    ASSERT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_TRUE(has(ended.err, "step-000005")) << ended.err;
    expect_equal("deep", broken);
  }
}

TEST_F(PipelineRun, WhatCannotBeSplitIsRefusedWithWhatCan) {
  const Outcome layers = run_fern_on(3, train("refused", stages(3)));
  EXPECT_EQ(layers.exit_code, 2);
  EXPECT_TRUE(has(layers.err, "expected 1 to 2 (model.layers)")) << layers.err;
  const Outcome ranks = run_fern_on(3, train("refused", stages(2)));
  EXPECT_EQ(ranks.exit_code, 2);
  EXPECT_TRUE(has(ranks.err, "does not divide the 3 ranks; start 4 (mpirun -n 4)")) << ranks.err;
  const std::vector<std::string> sparse = {"--set", "sparsity.method=set", "--set", "sparsity.sparsity=0.5",
                                           "--set", "sparsity.interval=5"};
  const auto with = [&](const std::string& setting) {
    std::vector<std::string> more = sparse;
    more.insert(more.end(), {"--set", setting});
    return run_fern(train("refused", stages(2, more)));
  };
  const Outcome global = with("sparsity.global=true");
  EXPECT_EQ(global.exit_code, 2);
  EXPECT_TRUE(has(global.err, "or sparsity.global = false")) << global.err;
  const Outcome tied = with("sparsity.embedding=true");
  EXPECT_EQ(tied.exit_code, 2);
  EXPECT_TRUE(has(tied.err, "or untied embeddings")) << tied.err;
}

// RigL with an update every 5 steps, whose scores are gathered over the 3 steps before; one process is
// stopped among these, and stages go on, and the other way round.
TEST_F(PipelineRun, SparseWeightsEqualOneProcessAndGoOn) {
  std::vector<std::string> rigl;
  for (const char* setting :
       {"sparsity.method=rigl", "sparsity.sparsity=0.8", "sparsity.interval=5", "sparsity.scoring_steps=3",
        "sparsity.distribution=erdos_renyi", "train.steps=24", "checkpoint.every=9"})
    rigl.insert(rigl.end(), {"--set", setting});
  ASSERT_EQ(run_fern(train("rigl", rigl)).exit_code, 0);
  const std::vector<std::string> topologies = topology_hashes("rigl");
  EXPECT_GE(topologies.size(), 3u);
  const Outcome two = run_fern_on(2, train("rigl_two", stages(2, rigl)));
  ASSERT_EQ(two.exit_code, 0) << two.err;
  expect_equal("rigl", "rigl_two");
  EXPECT_EQ(topology_hashes("rigl_two"), topologies);
  for (const std::string run : {"rigl", "rigl_two"}) {
    const std::string broken = run + "_broken";
    std::filesystem::copy(folder_ / run, folder_ / broken, std::filesystem::copy_options::recursive);
    for (const auto& checkpoint : checkpoints(broken))
      if (checkpoint.filename() != "step-000009") std::filesystem::remove_all(checkpoint);
    const Outcome ended =
        run == "rigl" ? run_fern_on(4, train(broken, stages(2, rigl))) : run_fern(train(broken, rigl));
    ASSERT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_TRUE(has(ended.err, "step-000009")) << ended.err;
    expect_equal("rigl", broken);
    EXPECT_EQ(topology_hashes(broken), topologies);
  }
}

}  // namespace
}  // namespace fern
