// Whole training runs of ranks that share sequences, held to the run of one process.
#include "tests/parallel/run_cases.h"

namespace fern {
namespace {

class ContextParallelRun : public RunCase {
 protected:
  // All ranks share each sequence, but where the case says how many.
  Variant here() const override {
    Variant variant = GetParam().variant;
    if (variant.context == 1) variant.context = world().size();
    return smooth(variant);
  }
};

class ContextParallelResume : public ContextParallelRun {};

SparsityConfig grown() {
  SparsityConfig config;
  config.method = SparsityMethod::kRigl;
  config.sparsity = 0.75;
  config.interval = 4;
  config.stop = 1;
  config.scoring_steps = 2;
  return config;
}

const Case
    kZero = {"zero", {.zero = 1, .tied = false}},
    kRecompute = {"recompute", {.recompute = true, .context = 2}, 2},
    kBesideData = {"beside_data", {.zero = 1, .context = 2}, 4},
    kZero2 = {"zero_2", {.zero = 2, .context = 2}, 4},
    kZero3 = {"zero_3", {.zero = 3, .tied = false, .context = 2}, 2},
    kStages = {"stages", {.tied = true, .pipeline = 2, .layers = 3, .recompute = true, .context = 2}, 4},
    kShares = {"shares", {.tied = true, .tensor = 2, .context = 2}, 4},
    kExperts =
        {"experts",
         {.experts = {.count = 4, .active = 2, .balance_loss = 0.01, .z_loss = 0.01, .bias_rate = 1e-3},
          .context = 2},
         2},
    kExpertShares =
        {"expert_shares",
         {.zero = 1, .experts = {.count = 4, .active = 2, .balance_loss = 0.01}, .context = 2, .expert = 2},
         4},
    kSparse = {"sparse", {.tied = false, .sparsity = grown(), .context = 2}, 2},
    kBF16 = {"bf16", {.dtype = DType::kBF16, .context = 2}, 2, kRoundingOfBF16};

INSTANTIATE_TEST_SUITE_P(Variants, ContextParallelRun,
                         testing::Values(kZero, kRecompute, kBesideData, kZero2, kZero3, kStages, kShares,
                                         kExperts, kExpertShares, kSparse, kBF16),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(Variants, ContextParallelResume,
                         testing::Values(kBesideData, kZero3, kStages, kExperts, kExpertShares, kSparse),
                         name_of_case);

TEST_P(ContextParallelRun, LossesAreThoseOfOneProcess) { expect_losses_of_one_process(run_of_ranks()); }

// Ranks that hold the same parameters hold the same bits of them.
TEST_P(ContextParallelRun, RanksAgreeToTheBit) {
  const SharedFolder folder("agree");
  SmallRun run(world(), folder.path(), here());
  run.run(3);
  const SmallRun::AllValues all(run);
  for (const Region& region : regions_of(run.model.parameters())) {
    Communicator& holders =
        region.own_experts ? *run.communicators.expert_replicas() : run.communicators.data();
    const auto values = region.values.values<float>();
    expect_agreement(holders, {values.begin(), values.end()});
  }
}

// Stopped under one layout, gone on with under the other.
TEST_P(ContextParallelResume, StoppedHereAndResumedAloneGoesOn) {
  expect_losses_of_one_process(stop_here_resume_alone(here()));
}

TEST_P(ContextParallelResume, StoppedAloneAndResumedHereGoesOn) {
  expect_losses_of_one_process(stop_alone_resume_here(here()));
}

TEST_P(ContextParallelRun, SendsWhatIsPlanned) {
  if (GetParam().variant.tensor > 1) GTEST_SKIP() << "a share of the heads goes round";
  const SharedFolder folder("traffic");
  SmallRun run(world(), folder.path(), here());
  run.run(2);
  const Mesh& mesh = run.communicators.mesh();
  EXPECT_EQ(run.result.context_sent_bytes,
            2 * 12 / mesh.data *
                context_axis_bytes(run.config, run.model.parts().front(), mesh.context,
                                   run.config.context / mesh.context));
  const Parameters& parameters = run.model.parameters();
  const int64_t replica = replica_index(mesh, run.communicators.place());
  EXPECT_EQ(run.result.sent_bytes,
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
      run.run(3);
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
