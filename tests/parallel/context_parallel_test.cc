// Whole training runs of ranks that share sequences, held to the run of one process.
#include <map>

#include "tests/parallel/small_run.h"

namespace fern {
namespace {

struct Case {
  std::string name;
  Variant variant;
  double tolerance = 1e-5;  // relative, of each step's loss
  int64_t data = 1;
};

void PrintTo(const Case& entry, std::ostream* out) { *out << entry.name; }

// All ranks share each sequence, but where the case says how many.
Variant on_all_ranks(Variant variant) {
  if (variant.context == 1) variant.context = world().size();
  variant.peak = 3e-3;  // where rounding does not grow
  return variant;
}

Variant alone(Variant variant) {
  variant = on_all_ranks(variant);
  variant.context = variant.pipeline = variant.tensor = variant.expert = 1;
  variant.zero = 0;
  return variant;
}

class ContextParallelRun : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Variant variant = on_all_ranks(GetParam().variant);
    const int64_t ranks = variant.context * variant.pipeline * variant.tensor;
    if (world().size() != GetParam().data * ranks) GTEST_SKIP() << "not of so many ranks";
  }
  // The losses of steps first + 1, first + 2, ...
  static void expect_losses_of_one_process(const std::vector<double>& losses, size_t first = 0) {
    static std::map<std::string, std::vector<double>> of_one;
    std::vector<double>& expected = of_one[GetParam().name];
    if (expected.empty()) expected = run_alone(alone(GetParam().variant)).losses;
    ASSERT_EQ(first + losses.size(), expected.size());
    for (size_t i = 0; i < losses.size(); ++i)
      ASSERT_NEAR(losses[i], expected[first + i], GetParam().tolerance * expected[first + i])
          << "step " << first + i + 1;
  }
};

class ContextParallelResume : public ContextParallelRun {};

SparsityConfig grown() {
  SparsityConfig config;
  config.method = SparsityMethod::kRigl;
  config.sparsity = 0.75;
  config.interval = 10;
  config.scoring_steps = 2;
  return config;
}

const Case kZero = {"zero", {.zero = 1, .tied = false}},
           kRecompute = {"recompute", {.recompute = true, .context = 2}},
           kBesideData = {"beside_data", {.zero = 1, .context = 2}, 1e-5, 2},
           kZero2 = {"zero_2", {.zero = 2, .context = 2}, 1e-5, 2},
           kZero3 = {"zero_3", {.zero = 3, .tied = false, .context = 2}},
           kStages = {"stages", {.tied = true, .pipeline = 2, .layers = 3, .recompute = true, .context = 2}},
           kShares = {"shares", {.tied = true, .tensor = 2, .context = 2}},
           kExperts = {"experts",
                       {.experts = {.count = 4,
                                    .active = 2,
                                    .balance_loss = 0.01,
                                    .z_loss = 0.01,
                                    .bias_rate = 1e-3},
                        .context = 2}},
           kExpertShares = {"expert_shares",
                            {.zero = 1,
                             .experts = {.count = 4, .active = 2, .balance_loss = 0.01},
                             .context = 2,
                             .expert = 2},
                            1e-5,
                            2},
           kSparse = {"sparse", {.tied = false, .sparsity = grown(), .context = 2}},
           kBF16 = {"bf16", {.dtype = DType::kBF16, .context = 2}, 2e-2};

std::string name_of(const testing::TestParamInfo<Case>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Variants, ContextParallelRun,
                         testing::Values(kZero, kRecompute, kBesideData, kZero2, kZero3, kStages, kShares,
                                         kExperts, kExpertShares, kSparse, kBF16),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Variants, ContextParallelResume,
                         testing::Values(kBesideData, kZero3, kStages, kExperts, kExpertShares, kSparse),
                         name_of);

TEST_P(ContextParallelRun, LossesAreThoseOfOneProcess) {
  const SharedFolder folder("context");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run();
  expect_losses_of_one_process(run.losses);
}

// Ranks that hold the same parameters hold the same bits of them.
TEST_P(ContextParallelRun, RanksAgreeToTheBit) {
  const SharedFolder folder("agree");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run(6);
  const SmallRun::AllValues all(run);
  for (const Region& region : regions_of(run.model.parameters())) {
    Communicator& holders =
        region.own_experts ? *run.communicators.expert_replicas() : run.communicators.data();
    const auto values = region.values.values<float>();
    const std::vector<double> told(values.begin(), values.end());
    std::vector<double> sum = told;
    holders.all_reduce_sum(sum);
    for (size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], holders.size() * told[i]) << i;
  }
}

// Stopped under one layout, gone on with under the other.
TEST_P(ContextParallelResume, StoppedHereAndResumedAloneGoesOn) {
  const SharedFolder folder("stopped");
  SmallRun first(world(), folder.path(), on_all_ranks(GetParam().variant));
  first.run(kStop);
  world().barrier();
  const auto solo = make_solo_communicator();
  SmallRun second(*solo, testing_data::fresh_folder("resumed"), alone(GetParam().variant));
  second.trainer->resume(folder.path() / "step-000020");
  second.run();
  expect_losses_of_one_process(second.losses, kStop);
}

TEST_P(ContextParallelResume, StoppedAloneAndResumedHereGoesOn) {
  const SharedFolder folder("alone");
  if (world().rank() == 0) {
    const auto solo = make_solo_communicator();
    SmallRun first(*solo, folder.path(), alone(GetParam().variant));
    first.run(kStop);
  }
  world().barrier();
  SmallRun second(world(), folder.path(), on_all_ranks(GetParam().variant));
  second.trainer->resume(folder.path() / "step-000020");
  second.run();
  expect_losses_of_one_process(second.losses, kStop);
}

TEST_P(ContextParallelRun, SendsWhatIsPlanned) {
  if (GetParam().variant.tensor > 1) GTEST_SKIP() << "a share of the heads goes round";
  const SharedFolder folder("traffic");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run(2);
  const Mesh& mesh = run.communicators.mesh();
  EXPECT_EQ(run.context_sent_bytes, 2 * 12 / mesh.data *
                                        context_axis_bytes(run.config, run.model.parts().front(),
                                                           mesh.context, run.config.context / mesh.context));
  const Parameters& parameters = run.model.parameters();
  const int64_t replica = replica_index(mesh, run.communicators.place());
  EXPECT_EQ(run.sent_bytes,
            2 * (data_sent_bytes(parameters, mesh, kShards, replica) +
                 12 / mesh.data * fetched_bytes(parameters, run.model.fetched_values(), mesh, replica)));
}

// How data, ZeRO and stages are laid out beside the shares of sequences changes no bit.
TEST(ContextParallel, OtherAxesChangeNoBit) {
  if (world().size() != 4) GTEST_SKIP() << "of 4 ranks";
  const auto hash_of = [](Variant variant, int64_t ranks) {
    const SharedFolder folder("bits");
    variant.context = 2;
    variant.tied = false;
    std::string hash;
    const auto group = world().group(Axis::kWorld, world().rank() < ranks ? 0 : 1);
    if (world().rank() < ranks) {
      SmallRun run(*group, folder.path(), variant);
      run.run(6);
      hash = run.hash();
    }
    return hash;
  };
  const std::string two = hash_of({}, 2), data = hash_of({}, 4);
  if (world().rank() < 2) {
    EXPECT_EQ(two, data);
  }
  for (const int64_t zero : {1, 2, 3}) EXPECT_EQ(hash_of({.zero = zero}, 4), data) << "zero " << zero;
}

}  // namespace
}  // namespace fern
