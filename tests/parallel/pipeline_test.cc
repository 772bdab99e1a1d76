// Whole training runs on the stages of a pipeline, held to the run of one process bit by bit.
#include <algorithm>
#include <map>
#include <string>

#include "tests/parallel/small_run.h"

namespace fern {
namespace {

constexpr int64_t kShortRun = 6;
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
  return config;
}

SparsityConfig of_erdos_renyi(SparsityConfig config) {
  config.distribution = Distribution::kErdosRenyi;
  return config;
}

// What may differ between runs that must come out the same.
struct Case {
  std::string name;
  Variant variant;
};

void PrintTo(const Case& entry, std::ostream* out) { *out << entry.name; }

// With as many stages as ranks, or, of four ranks, two stages of two.
Variant on_all_ranks(Variant variant) {
  if (variant.pipeline == 1) variant.pipeline = world().size();
  variant.layers = std::max<int64_t>(5, variant.pipeline * variant.virtual_stages);
  return variant;
}

Variant alone(Variant variant) {
  variant = on_all_ranks(variant);
  variant.pipeline = variant.virtual_stages = 1;
  variant.zero = 0;
  return variant;
}

// The run of one process that never stopped.
const Reference& reference(const Case& entry) {
  static std::map<std::string, Reference> known;
  const auto [at, is_new] = known.try_emplace(entry.name);
  if (is_new) at->second = run_alone(alone(entry.variant), kShortRun);
  return at->second;
}

class Pipeline : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Variant variant = on_all_ranks(GetParam().variant);
    if (world().size() % variant.pipeline != 0) GTEST_SKIP() << "not of so many ranks";
    if (variant.virtual_stages > 1 && 12 / variant.shards % variant.pipeline != 0)
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
              .sparsity = sparse(SparsityMethod::kRigl, PatternKind::kUnstructured)}},
        Case{"two_stages_gradual_zero",
             {.zero = 1,
              .shards = 4,
              .tied = false,
              .pipeline = 2,
              .sparsity = sparse(SparsityMethod::kGradual, PatternKind::kBlock)}},
        Case{"two_stages", {.shards = 4, .tied = true, .pipeline = 2}},
        Case{"two_stages_zero", {.zero = 1, .shards = 4, .tied = true, .pipeline = 2}},
        Case{"two_stages_zero_untied", {.zero = 1, .shards = 4, .tied = false, .pipeline = 2}},
        Case{"two_stages_zero_2", {.zero = 2, .shards = 12, .tied = true, .pipeline = 2}},
        Case{"two_stages_zero_2_untied", {.zero = 2, .shards = 4, .tied = false, .pipeline = 2}},
        Case{"two_stages_zero_3_untied",
             {.zero = 3, .shards = 12, .tied = false, .pipeline = 2, .qk_norm = true}},
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
             {.zero = 1, .shards = 6, .tied = true, .pipeline = 2, .virtual_stages = 2}},
        Case{"two_stages_parts_zero_2",
             {.zero = 2, .shards = 2, .tied = true, .pipeline = 2, .virtual_stages = 2}},
        Case{"two_stages_parts_zero_3_untied",
             {.zero = 3, .shards = 6, .tied = false, .pipeline = 2, .virtual_stages = 2}},
        Case{"two_stages_parts_rigl_zero",
             {.zero = 1,
              .shards = 6,
              .tied = true,
              .pipeline = 2,
              .sparsity = sparse(SparsityMethod::kRigl, PatternKind::kUnstructured),
              .virtual_stages = 2}}),
    [](const auto& info) { return info.param.name; });

TEST_P(Pipeline, EqualsOneProcessToTheBit) {
  const SharedFolder folder("pipeline");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run(kShortRun);
  const Reference& expected = reference(GetParam());
  EXPECT_EQ(run.losses, expected.losses);
  EXPECT_EQ(run.norms, expected.norms);
  world().barrier();
  const Manifest manifest = read_manifest(folder.path() / "step-000006");
  EXPECT_EQ(manifest.weights_hash, expected.hash);
  EXPECT_EQ(manifest.topology_hash, expected.topology);
}

// Telemetry is of the whole model, on the rank that logs it.
TEST_P(Pipeline, LogsWhatOneProcessLogs) {
  const SharedFolder folder("logs");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run(kShortRun);
  const Reference& expected = reference(GetParam());
  EXPECT_EQ(run.flops, expected.flops);
  ASSERT_EQ(run.updates.size(), expected.updates.size());
  const SparsityMethod method = GetParam().variant.sparsity.method;
  const bool changes = method != SparsityMethod::kDense && method != SparsityMethod::kStatic;
  EXPECT_GE(run.updates.size(), changes ? 2u : 0u);
  for (size_t i = 0; i < run.updates.size(); ++i) {
    EXPECT_EQ(run.updates[i].counts.dropped, expected.updates[i].counts.dropped);
    EXPECT_EQ(run.updates[i].counts.grown, expected.updates[i].counts.grown);
    EXPECT_EQ(run.updates[i].nonzeros, expected.updates[i].nonzeros);
    if (world().rank() == 0) {
      EXPECT_EQ(run.updates[i].hash, expected.updates[i].hash);
    }
  }
  ASSERT_EQ(run.watched_weights.size(), expected.watched_weights.size());
  for (size_t i = 0; i < run.watched_weights.size(); ++i)
    EXPECT_EQ(run.watched_weights[i].weights, expected.watched_weights[i].weights);
}

// Weights and moments: what is saved under one layout goes on under the other.
TEST_P(Pipeline, StoppedHereAndResumedAloneEqualsNotStopping) {
  const SharedFolder folder("stopped");
  SmallRun first(world(), folder.path(), on_all_ranks(GetParam().variant));
  first.run(kShortRun / 2);
  world().barrier();
  const auto solo = make_solo_communicator();
  SmallRun second(*solo, testing_data::fresh_folder("resumed"), alone(GetParam().variant));
  second.trainer->resume(folder.path() / "step-000003");
  second.run(kShortRun);
  EXPECT_EQ(second.hash(), reference(GetParam()).hash);
  EXPECT_EQ(topology_hash(second.model.parameters()), reference(GetParam()).topology);
}

TEST_P(Pipeline, StoppedAloneAndResumedHereEqualsNotStopping) {
  const SharedFolder folder("alone");
  if (world().rank() == 0) {
    const auto solo = make_solo_communicator();
    SmallRun first(*solo, folder.path(), alone(GetParam().variant));
    first.run(kShortRun / 2);
  }
  world().barrier();
  SmallRun second(world(), folder.path(), on_all_ranks(GetParam().variant));
  second.trainer->resume(folder.path() / "step-000003");
  second.run(kShortRun);
  world().barrier();
  EXPECT_EQ(read_manifest(folder.path() / "step-000006").weights_hash, reference(GetParam()).hash);
}

TEST_P(Pipeline, SendsWhatIsPlanned) {
  const SharedFolder folder("traffic");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run(2);
  const Mesh& mesh = run.communicators.mesh();
  const MeshPlace& place = run.communicators.place();
  EXPECT_EQ(run.pipeline_sent_bytes,
            2 * RankLink::sent_bytes_of_step(run.config, run.config.context, 12 / mesh.data, mesh, place));
  if (GetParam().variant.sparsity.method != SparsityMethod::kDense)
    return;  // the dense gradients of some rows too
  const Parameters& parameters = run.model.parameters();
  const int data = static_cast<int>(place.data);
  EXPECT_EQ(run.sent_bytes,
            2 * (data_sent_bytes(parameters, mesh, GetParam().variant.shards, data) +
                 12 / mesh.data * fetched_bytes(parameters, run.model.fetched_values(), mesh, data)));
}

}  // namespace
}  // namespace fern
