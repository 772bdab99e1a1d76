// Whole training runs on the stages of a pipeline, held to the run of one process bit by bit.
#include <algorithm>

#include "tests/parallel/run_cases.h"

namespace fern {
namespace {

constexpr int64_t kShortRun = 6, kHalf = 3;
// In every second layer, so that stages have some or none.
constexpr ExpertConfig kExperts = {.count = 4,
                                   .active = 2,
                                   .ffn = 64,
                                   .shared = 1,
                                   .every = 2,
                                   .balance_loss = 0.01,
                                   .z_loss = 0.001,
                                   .bias_rate = 0.001};

// Patterns change after steps 2 and 4, so a run that stops after step 3 has gathered half of its scores.
SparsityConfig sparse(SparsityMethod method, PatternKind pattern, double sparsity = 0.75) {
  SparsityConfig config;
  config.method = method;
  config.pattern = pattern;
  config.block = 8;
  config.sparsity = sparsity;
  config.interval = 2;
  config.scoring_steps = 2;
  config.stop = 1;
  return config;
}

SparsityConfig of_erdos_renyi(SparsityConfig config) {
  config.distribution = Distribution::kErdosRenyi;
  return config;
}

class Pipeline : public RunCase {
 protected:
  // With as many stages as ranks, or, of four ranks, two stages of two.
  Variant here() const override {
    Variant variant = GetParam().variant;
    if (variant.pipeline == 1) variant.pipeline = world().size();
    variant.layers = std::max<int64_t>(5, variant.pipeline * variant.virtual_stages);
    variant.steps = kShortRun;
    return variant;
  }
  void SetUp() override {
    RunCase::SetUp();
    const Variant variant = here();
    if (variant.virtual_stages > 1 && kMicroBatches / variant.shards % variant.pipeline != 0)
      GTEST_SKIP() << "shards are no multiple of the stages";
  }
};

INSTANTIATE_TEST_SUITE_P(
    Variants, Pipeline,
    testing::Values(
        Case{"untied", {.shards = 4, .tied = false}}, Case{"tied", {.shards = 4, .tied = true}},
        Case{"tied_one_micro_batch_a_shard", {.shards = 12, .tied = true}},
        Case{"one_shard", {.shards = 1, .tied = false}}, Case{"one_shard_tied", {.shards = 1, .tied = true}},
        Case{"recompute", {.shards = 4, .tied = false, .recompute = true}},
        Case{"recompute_tied", {.shards = 4, .tied = true, .recompute = true}},
        Case{"bf16", {.shards = 4, .tied = true, .dtype = DType::kBF16}},
        Case{"qk_norm", {.shards = 4, .tied = true, .qk_norm = true}},
        Case{"experts", {.shards = 4, .tied = false, .experts = kExperts}},
        Case{"experts_recompute", {.shards = 4, .tied = true, .experts = kExperts, .recompute = true}},
        Case{"static_fan_in",
             {.shards = 4, .tied = true, .sparsity = sparse(SparsityMethod::kStatic, PatternKind::kFanIn)}},
        Case{"set_blocks",
             {.shards = 4, .tied = false, .sparsity = sparse(SparsityMethod::kSet, PatternKind::kBlock)}},
        Case{"rigl_erdos_renyi",
             {.shards = 4,
              .tied = true,
              .sparsity = of_erdos_renyi(sparse(SparsityMethod::kRigl, PatternKind::kUnstructured))}},
        Case{"rigl_n_of_m",
             {.shards = 12, .tied = true, .sparsity = sparse(SparsityMethod::kRigl, PatternKind::kNm, 0)}},
        Case{"srigl",
             {.shards = 4, .tied = false, .sparsity = sparse(SparsityMethod::kSrigl, PatternKind::kFanIn)}},
        Case{"gradual",
             {.shards = 4,
              .tied = true,
              .sparsity = of_erdos_renyi(sparse(SparsityMethod::kGradual, PatternKind::kUnstructured))}},
        Case{"sparse_experts",
             {.shards = 4,
              .tied = false,
              .experts = kExperts,
              .sparsity = sparse(SparsityMethod::kRigl, PatternKind::kUnstructured)}},
        Case{"two_stages_rigl_zero",
             {.zero = 1,
              .shards = 4,
              .tied = true,
              .pipeline = 2,
              .sparsity = sparse(SparsityMethod::kRigl, PatternKind::kUnstructured)},
             4},
        Case{"two_stages_gradual_zero",
             {.zero = 1,
              .shards = 4,
              .tied = false,
              .pipeline = 2,
              .sparsity = sparse(SparsityMethod::kGradual, PatternKind::kBlock)},
             4},
        Case{"two_stages", {.shards = 4, .tied = true, .pipeline = 2}, 4},
        Case{"two_stages_zero", {.zero = 1, .shards = 4, .tied = true, .pipeline = 2}, 4},
        Case{"two_stages_zero_untied", {.zero = 1, .shards = 4, .tied = false, .pipeline = 2}, 4},
        Case{"two_stages_zero_2", {.zero = 2, .shards = 12, .tied = true, .pipeline = 2}, 4},
        Case{"two_stages_zero_2_untied", {.zero = 2, .shards = 4, .tied = false, .pipeline = 2}, 4},
        Case{"two_stages_zero_3_untied",
             {.zero = 3, .shards = 12, .tied = false, .pipeline = 2, .qk_norm = true},
             4},
        Case{"two_stages_zero_3", {.zero = 3, .shards = 12, .tied = true, .pipeline = 2}, 4},
        Case{"zero_3_experts",
             {.zero = 3, .shards = 4, .tied = true, .experts = kExperts, .pipeline = 2, .recompute = true},
             4},
        Case{"zero_3_static_bf16",
             {.zero = 3,
              .shards = 4,
              .tied = true,
              .pipeline = 2,
              .dtype = DType::kBF16,
              .sparsity = sparse(SparsityMethod::kStatic, PatternKind::kUnstructured)},
             4},
        Case{"parts_untied", {.shards = 6, .tied = false, .virtual_stages = 2}},
        Case{"parts_tied", {.shards = 3, .tied = true, .virtual_stages = 2}},
        Case{"parts_one_shard", {.shards = 1, .tied = true, .virtual_stages = 2}},
        Case{"three_parts_recompute", {.shards = 3, .tied = true, .recompute = true, .virtual_stages = 3}},
        Case{"parts_bf16", {.shards = 3, .tied = true, .dtype = DType::kBF16, .virtual_stages = 2}},
        Case{"parts_experts",
             {.shards = 3, .tied = false, .experts = kExperts, .recompute = true, .virtual_stages = 2}},
        Case{"parts_rigl",
             {.shards = 3,
              .tied = true,
              .sparsity = of_erdos_renyi(sparse(SparsityMethod::kRigl, PatternKind::kUnstructured)),
              .virtual_stages = 2}},
        Case{"two_stages_parts_zero",
             {.zero = 1, .shards = 6, .tied = true, .pipeline = 2, .virtual_stages = 2},
             4},
        Case{"two_stages_parts_zero_2",
             {.zero = 2, .shards = 2, .tied = true, .pipeline = 2, .virtual_stages = 2},
             4},
        Case{"two_stages_parts_zero_3",
             {.zero = 3, .shards = 6, .tied = true, .pipeline = 2, .virtual_stages = 2},
             4},
        Case{"two_stages_parts_zero_3_untied",
             {.zero = 3, .shards = 6, .tied = false, .pipeline = 2, .virtual_stages = 2},
             4},
        Case{"two_stages_parts_rigl_zero",
             {.zero = 1,
              .shards = 6,
              .tied = true,
              .pipeline = 2,
              .sparsity = sparse(SparsityMethod::kRigl, PatternKind::kUnstructured),
              .virtual_stages = 2},
             4}),
    name_of_case);

TEST_P(Pipeline, EqualsOneProcessToTheBit) { expect_bits_of_one_process(run_of_ranks()); }

// Telemetry is of the whole model, on the rank that logs it.
TEST_P(Pipeline, LogsWhatOneProcessLogs) {
  const RunResult& run = run_of_ranks();
  const SparsityMethod method = GetParam().variant.sparsity.method;
  const bool changes = method != SparsityMethod::kDense && method != SparsityMethod::kStatic;
  EXPECT_GE(run.updates.size(), changes ? 2u : 0u);
  expect_logs_of_one_process(run, 0);
}

// Weights and moments: what is saved under one layout goes on under the other.
TEST_P(Pipeline, StoppedHereAndResumedAloneEqualsNotStopping) {
  expect_bits_of_one_process(stop_here_resume_alone(here(), kHalf));
}

TEST_P(Pipeline, StoppedAloneAndResumedHereEqualsNotStopping) {
  expect_bits_of_one_process(stop_alone_resume_here(here(), kHalf));
}

TEST_P(Pipeline, SendsWhatIsPlanned) {
  const SharedFolder folder("traffic");
  SmallRun run(world(), folder.path(), here());
  run.run(2);
  const Mesh& mesh = run.communicators.mesh();
  const MeshPlace& place = run.communicators.place();
  EXPECT_EQ(run.result.pipeline_sent_bytes,
            2 * RankLink::sent_bytes_of_step(run.config, run.config.context, 12 / mesh.data, mesh, place));
  if (GetParam().variant.sparsity.method != SparsityMethod::kDense)
    return;  // the dense gradients of some rows too
  const Parameters& parameters = run.model.parameters();
  const int data = static_cast<int>(place.data);
  EXPECT_EQ(run.result.sent_bytes,
            2 * (data_sent_bytes(parameters, mesh, GetParam().variant.shards, data) +
                 12 / mesh.data * fetched_bytes(parameters, run.model.fetched_values(), mesh, data) +
                 fetched_bytes(parameters, {run.model.shared_values()}, mesh, data)));
}

}  // namespace
}  // namespace fern
