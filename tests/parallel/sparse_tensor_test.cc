// Whole training runs of ranks that share sparse matrices, held to the run of one process.
#include "framework/checkpoint/topology_file.h"
#include "tests/parallel/run_cases.h"

namespace fern {
namespace {

// Patterns change after steps 3, 6 and 9. For the update after step 6 half of the rows are scored when a run
// stops after kStop.
SparsityConfig sparse(SparsityMethod method, PatternKind pattern = PatternKind::kUnstructured,
                      double sparsity = 0.75) {
  SparsityConfig config;
  config.method = method;
  config.pattern = pattern;
  config.block = 8;
  config.sparsity = sparsity;
  config.interval = 3;
  config.scoring_steps = 2;
  config.stop = 1;
  return config;
}

SparsityConfig of_all_matrices(SparsityConfig config) {
  config.embedding = config.head = true;
  config.distribution = Distribution::kErdosRenyi;
  return config;
}

// One update: a weight that grows makes an AdamW step as long as any, whichever way rounding points where its
// gradient is next to nothing, and of the many such in a tied embedding a later update may drop others.
SparsityConfig changed_once(SparsityConfig config) {
  config.interval = 6;
  return config;
}

class SparseTensor : public RunCase {
 protected:
  // All ranks share each matrix, but where the case says how many.
  Variant here() const override {
    Variant variant = GetParam().variant;
    if (variant.tensor == 1) variant.tensor = world().size();
    variant.kv_heads = 4;
    return smooth(variant);
  }
};

INSTANTIATE_TEST_SUITE_P(
    Variants, SparseTensor,
    testing::Values(
        Case{"static", {.tied = true, .sparsity = sparse(SparsityMethod::kStatic)}},
        Case{"static_fan_in",
             {.tied = false, .sparsity = sparse(SparsityMethod::kStatic, PatternKind::kFanIn)}},
        Case{"static_butterfly",
             {.tied = false, .sparsity = sparse(SparsityMethod::kStatic, PatternKind::kButterfly, 0.5)}},
        Case{"set_tied_everywhere",
             {.tied = true,
              .vocabulary = 1003,
              .sparsity = changed_once(of_all_matrices(sparse(SparsityMethod::kSet)))}},
        Case{"set_blocks", {.tied = false, .sparsity = sparse(SparsityMethod::kSet, PatternKind::kBlock)}},
        Case{"rigl_everywhere",
             {.tied = false, .vocabulary = 1003, .sparsity = of_all_matrices(sparse(SparsityMethod::kRigl))}},
        Case{"rigl_blocks", {.tied = true, .sparsity = sparse(SparsityMethod::kRigl, PatternKind::kBlock)}},
        Case{"rigl_fan_in", {.tied = true, .sparsity = sparse(SparsityMethod::kRigl, PatternKind::kFanIn)}},
        Case{"rigl_n_of_m", {.tied = true, .sparsity = sparse(SparsityMethod::kRigl, PatternKind::kNm, 0)}},
        Case{"srigl", {.tied = false, .sparsity = sparse(SparsityMethod::kSrigl, PatternKind::kFanIn)}},
        Case{"gradual", {.tied = true, .sparsity = of_all_matrices(sparse(SparsityMethod::kGradual))}},
        Case{"magnitude_blocks",
             {.tied = true, .sparsity = sparse(SparsityMethod::kMagnitude, PatternKind::kBlock)}},
        Case{"experts",
             {.tied = true,
              .experts = {.count = 4, .active = 2, .balance_loss = 0.01},
              .sparsity = sparse(SparsityMethod::kRigl)}},
        Case{"two_and_data_rigl_zero",
             {.zero = 1, .tied = true, .tensor = 2, .sparsity = sparse(SparsityMethod::kRigl)}},
        Case{"two_and_data_gradual_zero_2",
             {.zero = 2, .tied = false, .tensor = 2, .sparsity = sparse(SparsityMethod::kGradual)}},
        Case{"two_and_data_that_share_experts",
             {.zero = 1,
              .tied = false,
              .experts = {.count = 4, .active = 2, .balance_loss = 0.01},
              .tensor = 2,
              .sparsity = sparse(SparsityMethod::kRigl),
              .expert = 2}},
        Case{"stages_rigl",
             {.tied = true,
              .pipeline = 2,
              .layers = 3,
              .tensor = 2,
              .sparsity = sparse(SparsityMethod::kRigl)}},
        Case{"stages_static",
             {.tied = false,
              .pipeline = 2,
              .layers = 3,
              .tensor = 2,
              .vocabulary = 1003,
              .sparsity = of_all_matrices(sparse(SparsityMethod::kStatic))}}),
    name_of_case);

TEST_P(SparseTensor, FollowsOneProcessInLossesAndPatterns) {
  const RunResult& run = run_of_ranks();
  expect_losses_of_one_process(run);
  expect_topology_of_one_process(run);
}

// A weight counts once, a row or column when any share has a weight of it.
TEST_P(SparseTensor, LogsWhatOneProcessLogs) { expect_logs_of_one_process(run_of_ranks(), 1e-3); }

// For as many shares, the result does not depend on how many ranks share the data.
TEST_P(SparseTensor, DataRanksAndZeroDoNotChangeABit) {
  const Variant variant = here();
  if (variant.tensor * variant.pipeline == world().size()) GTEST_SKIP() << "no ranks share the data";
  std::vector<std::string> hashes;
  for (const int64_t zero : {0, 1, 2}) {
    Variant now = variant;
    now.zero = zero;
    const RunResult run = run_on_all(now, 4);
    hashes.push_back(run.weights + run.moments + run.topology);
    EXPECT_EQ(hashes.back(), hashes.front()) << zero;
  }
}

// Everything that a checkpoint says, to the bit, on the ranks that write.
struct Contents {
  std::vector<float> values;
  TopologyMemory memory;
  std::string topology;
};

Contents contents_of(SmallRun& run) {
  Contents contents;
  Topology::Memory memory = run.topology->memory(run.optimizer->ages());
  const Parameters& whole = memory.whole ? *memory.whole : run.layout();
  contents.memory = std::move(memory.memory);
  run.tensors->begin(whole);
  if (run.tensors->is_writer()) {
    contents.topology = topology_hash(whole);
    const auto take = [&](TensorKind kind, int index) {
      const std::span<const float> values = run.tensors->get(kind, index);
      contents.values.insert(contents.values.end(), values.begin(), values.end());
    };
    const int count = static_cast<int>(whole.list().size());
    for (int i = 0; i < count; ++i) take(TensorKind::kValues, i);
    for (int i = 0; i < count; ++i) {
      take(TensorKind::kFirstMoment, i);
      take(TensorKind::kSecondMoment, i);
    }
  }
  run.tensors->finish();
  return contents;
}

// Values, moments, ages, scores that are gathered by half and what was ever active come back from shares as
// they went to them.
TEST_P(SparseTensor, WhatIsLoadedIsWhatWasSaved) {
  const SharedFolder folder("loaded");
  const auto solo = make_solo_communicator();
  if (world().rank() == 0) {
    SmallRun first(*solo, folder.path(), here().alone());
    first.run(kStop);
  }
  world().barrier();
  SmallRun run(world(), folder.path(), here());
  run.resume(folder.path(), kStop);
  const Contents got = contents_of(run);
  if (world().rank() == 0) {
    SmallRun one(*solo, folder.path(), here().alone());
    one.resume(folder.path(), kStop);
    const Contents expected = contents_of(one);
    EXPECT_EQ(got.values, expected.values);
    EXPECT_EQ(got.topology, expected.topology);
    EXPECT_EQ(got.memory.scores, expected.memory.scores);
    EXPECT_EQ(got.memory.ever_active, expected.memory.ever_active);
    EXPECT_EQ(got.memory.ages.births, expected.memory.ages.births);
    EXPECT_EQ(got.memory.ages.generation, expected.memory.ages.generation);
    const SparsityMethod method = GetParam().variant.sparsity.method;
    EXPECT_EQ(expected.memory.scores.empty(), !traits_of(method).scores);
  }
}

// Stopped under one layout, gone on with under the other.
TEST_P(SparseTensor, StoppedHereAndResumedAloneGoesOn) {
  const RunResult run = stop_here_resume_alone(here());
  expect_losses_of_one_process(run);
  expect_topology_of_one_process(run);
}

TEST_P(SparseTensor, StoppedAloneAndResumedHereGoesOn) {
  const RunResult run = stop_alone_resume_here(here());
  expect_losses_of_one_process(run);
  expect_topology_of_one_process(run);
}

// Shares hold what is theirs: together as many weights as one process, and none of them all.
TEST_P(SparseTensor, SendsWhatIsPlannedOfSharesThatTogetherAreTheWhole) {
  const SharedFolder folder("traffic");
  SmallRun run(world(), folder.path(), here());
  run.run(1);  // which scores no rows
  const Mesh& mesh = run.communicators.mesh();
  const MeshPlace& place = run.communicators.place();
  EXPECT_EQ(run.result.sent_bytes, data_sent_bytes(run.model.parameters(), mesh, GetParam().variant.shards,
                                                   replica_index(mesh, place)));
  std::vector<double> held = {0};
  const std::vector<Parameter>& list = run.model.parameters().list();
  for (size_t i = 0; i < list.size(); ++i) {
    const bool is_own_expert = i >= run.model.parameters().own_experts();
    if (list[i].place.counted && run.pattern_link.speaks(is_own_expert))
      held[0] += static_cast<double>(list[i].elements());
  }
  world().all_reduce_sum(held);
  EXPECT_EQ(held[0], static_cast<double>(run.layout().elements()));
  EXPECT_LT(run.model.parameters().elements(), run.layout().elements() * 2 / 3);
}

}  // namespace
}  // namespace fern
