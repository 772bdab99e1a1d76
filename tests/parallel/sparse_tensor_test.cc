// Whole training runs of ranks that share sparse matrices, held to the run of one process.
#include <map>

#include "tests/parallel/small_run.h"

namespace fern {
namespace {

constexpr int64_t kMidScoring = 18;  // half of the rows are scored for the update after step 20

// Patterns change after steps 10, 20 and 30, of rows that are scored over four steps.
SparsityConfig sparse(SparsityMethod method, PatternKind pattern = PatternKind::kUnstructured,
                      double sparsity = 0.75) {
  SparsityConfig config;
  config.method = method;
  config.pattern = pattern;
  config.block = 8;
  config.sparsity = sparsity;
  config.interval = 10;
  config.scoring_steps = 4;
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
  config.interval = 20;
  return config;
}

struct Case {
  std::string name;
  Variant variant;
};

void PrintTo(const Case& entry, std::ostream* out) { *out << entry.name; }

// All ranks share each matrix, but where the case says how many.
Variant on_all_ranks(Variant variant) {
  if (variant.tensor == 1) variant.tensor = world().size();
  variant.kv_heads = 4;
  variant.peak = 3e-3;  // where rounding does not grow
  return variant;
}

Variant alone(Variant variant) {
  variant = on_all_ranks(variant);
  variant.tensor = variant.pipeline = variant.expert = 1;
  variant.zero = 0;
  return variant;
}

// What one process comes to, and what all ranks come to together: once for all tests of a case.
const Reference& reference(const Case& entry) {
  static std::map<std::string, Reference> known;
  const auto [at, is_new] = known.try_emplace(entry.name);
  if (is_new) at->second = run_alone(alone(entry.variant));
  return at->second;
}

const Reference& run_of_ranks(const Case& entry) {
  static std::map<std::string, Reference> known;
  const auto [at, is_new] = known.try_emplace(entry.name);
  if (!is_new) return at->second;
  const SharedFolder folder("sparse_tensor");
  SmallRun run(world(), folder.path(), on_all_ranks(entry.variant));
  run.run();
  world().barrier();
  const Manifest manifest = read_manifest(folder.path() / "step-000050");
  at->second = {manifest.weights_hash, manifest.topology_hash, run.losses, run.norms, run.flops,
                run.updates,           run.watched_weights};
  return at->second;
}

class SparseTensor : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Variant variant = on_all_ranks(GetParam().variant);
    if (world().size() == 1 || world().size() % (variant.tensor * variant.pipeline * variant.expert) != 0)
      GTEST_SKIP() << "not of so many ranks";
  }
  // The losses of steps first + 1, first + 2, ...
  static void expect_losses_of_one_process(const std::vector<double>& losses, size_t first = 0) {
    const std::vector<double>& expected = reference(GetParam()).losses;
    ASSERT_EQ(first + losses.size(), expected.size());
    for (size_t i = 0; i < losses.size(); ++i)
      ASSERT_NEAR(losses[i], expected[first + i], 1e-5 * expected[first + i]) << "step " << first + i + 1;
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
    [](const auto& info) { return info.param.name; });

TEST_P(SparseTensor, FollowsOneProcessInLossesAndPatterns) {
  const Reference& run = run_of_ranks(GetParam());
  expect_losses_of_one_process(run.losses);
  EXPECT_EQ(run.topology, reference(GetParam()).topology);
}

// A weight counts once, a row or column when any share has a weight of it.
TEST_P(SparseTensor, LogsWhatOneProcessLogs) {
  const Reference &run = run_of_ranks(GetParam()), &expected = reference(GetParam());
  EXPECT_EQ(run.flops, expected.flops);
  ASSERT_EQ(run.updates.size(), expected.updates.size());
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
    for (size_t w = 0; w < run.watched_weights[i].weights.size(); ++w) {
      WeightMetrics got = run.watched_weights[i].weights[w], one = expected.watched_weights[i].weights[w];
      EXPECT_NEAR(got.gradient_norm, one.gradient_norm, 1e-3 * one.gradient_norm) << one.name;
      got.gradient_norm = one.gradient_norm;
      EXPECT_EQ(got, one) << one.name;
    }
}

// Fails unless all ranks of the communicator tell the same.
void expect_agreement(Communicator& communicator, const std::vector<double>& told) {
  std::vector<double> sum = told;
  communicator.all_reduce_sum(sum);
  for (size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], communicator.size() * told[i]) << i;
}

TEST_P(SparseTensor, RanksAgreeToTheBit) {
  const Reference& run = run_of_ranks(GetParam());
  expect_agreement(world(), run.losses);
  expect_agreement(world(), run.norms);
  std::vector<double> norms;
  for (const SparsityMetrics& step : run.watched_weights)
    for (const WeightMetrics& weight : step.weights) norms.push_back(weight.gradient_norm);
  expect_agreement(world(), norms);
}

// For as many shares, the result does not depend on how many ranks share the data.
TEST_P(SparseTensor, DataRanksAndZeroDoNotChangeABit) {
  const Variant variant = on_all_ranks(GetParam().variant);
  if (variant.tensor * variant.pipeline == world().size()) GTEST_SKIP() << "no ranks share the data";
  std::vector<std::string> hashes;
  for (const int64_t zero : {0, 1, 2}) {
    const SharedFolder folder("zero");
    Variant now = variant;
    now.zero = zero;
    SmallRun run(world(), folder.path(), now);
    run.run(12);
    world().barrier();
    const Manifest manifest = read_manifest(folder.path() / "step-000012");
    hashes.push_back(manifest.weights_hash + manifest.optimizer_hash + manifest.topology_hash);
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
    SmallRun first(*solo, folder.path(), alone(GetParam().variant));
    first.run(kMidScoring);
  }
  world().barrier();
  SmallRun here(world(), folder.path(), on_all_ranks(GetParam().variant));
  here.trainer->resume(folder.path() / "step-000018");
  const Contents got = contents_of(here);
  if (world().rank() == 0) {
    SmallRun one(*solo, folder.path(), alone(GetParam().variant));
    one.trainer->resume(folder.path() / "step-000018");
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
  const SharedFolder folder("stopped");
  SmallRun first(world(), folder.path(), on_all_ranks(GetParam().variant));
  first.run(kMidScoring);
  world().barrier();
  const auto solo = make_solo_communicator();
  SmallRun second(*solo, testing_data::fresh_folder("resumed"), alone(GetParam().variant));
  second.trainer->resume(folder.path() / "step-000018");
  second.run();
  expect_losses_of_one_process(second.losses, kMidScoring);
  EXPECT_EQ(topology_hash(second.model.parameters()), reference(GetParam()).topology);
}

TEST_P(SparseTensor, StoppedAloneAndResumedHereGoesOn) {
  const SharedFolder folder("alone");
  if (world().rank() == 0) {
    const auto solo = make_solo_communicator();
    SmallRun first(*solo, folder.path(), alone(GetParam().variant));
    first.run(kMidScoring);
  }
  world().barrier();
  SmallRun second(world(), folder.path(), on_all_ranks(GetParam().variant));
  second.trainer->resume(folder.path() / "step-000018");
  second.run();
  expect_losses_of_one_process(second.losses, kMidScoring);
  world().barrier();
  EXPECT_EQ(read_manifest(folder.path() / "step-000050").topology_hash, reference(GetParam()).topology);
}

// Shares hold what is theirs: together as many weights as one process, and none of them all.
TEST_P(SparseTensor, SendsWhatIsPlannedOfSharesThatTogetherAreTheWhole) {
  const SharedFolder folder("traffic");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run(2);
  const Mesh& mesh = run.communicators.mesh();
  const MeshPlace& place = run.communicators.place();
  EXPECT_EQ(run.sent_bytes, 2 * data_sent_bytes(run.model.parameters(), mesh, GetParam().variant.shards,
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
