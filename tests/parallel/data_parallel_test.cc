// Whole training runs on several ranks, held to the run of one process bit by bit.
#include <tuple>

#include "tests/parallel/small_run.h"

namespace fern {
namespace {

// The run of one process that never stopped.
const Reference& reference() {
  static const Reference whole = run_alone({});
  return whole;
}

// By ZeRO stage. All gradients are one bucket.
class DataParallel : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Zero, DataParallel, testing::Values(0, 1), testing::PrintToStringParamName());

TEST_P(DataParallel, FiftyStepsEqualOneProcessToTheBit) {
  const SharedFolder folder("fifty");
  SmallRun run(world(), folder.path(), {.zero = GetParam()});
  run.run();
  EXPECT_EQ(run.losses, reference().losses);
  EXPECT_EQ(run.norms, reference().norms);
  EXPECT_EQ(run.hash(), reference().hash);
}

// Each rank's sums of all but its own part go out, and the total of its own part to all others.
TEST(DataParallelTraffic, IsFourBytesAWeightAsPlanned) {
  const SharedFolder folder("traffic");
  SmallRun run(world(), folder.path());
  run.run(kStop);
  const int64_t elements = run.model.parameters().padded_elements();
  const ReductionPlan plan = plan_reduction(elements, kShards, world().rank(), world().size(), 0);
  size_t nodes = 0;
  for (const auto& of_rank : plan.nodes) nodes += of_rank.size();
  ASSERT_EQ(nodes, plan.nodes.size());
  double sent[] = {static_cast<double>(run.sent_bytes)};
  world().all_reduce_sum(sent);
  EXPECT_EQ(sent[0], static_cast<double>(kStop * 4 * 2 * elements * (world().size() - 1)));
}

TEST_P(DataParallel, StoppedHereAndResumedAloneEqualsNotStopping) {
  const SharedFolder folder("stopped");
  SmallRun first(world(), folder.path(), {.zero = GetParam()});
  first.run(kStop);
  ASSERT_EQ(first.trainer->step(), kStop);
  world().barrier();
  const auto alone = make_solo_communicator();
  const fs::path own = testing_data::fresh_folder("resumed");
  SmallRun second(*alone, own);
  second.trainer->resume(folder.path() / "step-000020");
  second.run();
  EXPECT_EQ(second.hash(), reference().hash);
}

TEST_P(DataParallel, StoppedAloneAndResumedHereEqualsNotStopping) {
  const SharedFolder folder("alone");
  if (world().rank() == 0) {
    const auto alone = make_solo_communicator();
    SmallRun first(*alone, folder.path());
    first.run(kStop);
  }
  world().barrier();
  SmallRun second(world(), folder.path(), {.zero = GetParam()});
  second.trainer->resume(folder.path() / "step-000020");
  second.run();
  EXPECT_EQ(second.hash(), reference().hash);
}

// Experts in every second layer.
constexpr ExpertConfig kExperts = {.count = 4,
                                   .active = 2,
                                   .ffn = 64,
                                   .shared = 1,
                                   .every = 2,
                                   .balance_loss = 0.01,
                                   .z_loss = 0.001,
                                   .bias_rate = 0.001};

const Reference& reference_with_experts() {
  static const Reference whole = run_alone({.experts = kExperts});
  return whole;
}

TEST_P(DataParallel, ExpertsEqualOneProcessToTheBit) {
  const SharedFolder folder("experts");
  SmallRun run(world(), folder.path(),
               {.zero = GetParam(), .largest_bucket = kParameterChunk, .experts = kExperts});
  run.run();
  EXPECT_EQ(run.losses, reference_with_experts().losses);
  EXPECT_EQ(run.norms, reference_with_experts().norms);
  EXPECT_EQ(run.hash(), reference_with_experts().hash);
}

TEST_P(DataParallel, ExpertsStoppedHereAndResumedAloneEqualNotStopping) {
  const SharedFolder folder("experts_stopped");
  SmallRun first(world(), folder.path(), {.zero = GetParam(), .experts = kExperts});
  first.run(kStop);
  world().barrier();
  const auto alone = make_solo_communicator();
  const fs::path own = testing_data::fresh_folder("experts_resumed");
  SmallRun second(*alone, own, {.experts = kExperts});
  second.trainer->resume(folder.path() / "step-000020");
  second.run();
  EXPECT_EQ(second.hash(), reference_with_experts().hash);
}

// One chunk a bucket, so that there are many, and exchanged while backward goes on.
class DataParallelBuckets : public testing::TestWithParam<std::tuple<int64_t, bool, int64_t>> {
 protected:
  Variant variant() const {
    const auto& [zero, tied, shards] = GetParam();
    return {.zero = zero, .shards = shards, .tied = tied, .largest_bucket = kParameterChunk};
  }
};
// 12 shards: one micro-batch each; 4: three each.
INSTANTIATE_TEST_SUITE_P(ZeroTiedShards, DataParallelBuckets,
                         testing::Combine(testing::Values(0, 1), testing::Bool(), testing::Values(4, 12)));

TEST_P(DataParallelBuckets, EqualOneProcessToTheBit) {
  const SharedFolder folder("buckets");
  SmallRun run(world(), folder.path(), variant());
  run.run(kStop);
  Variant alone = variant();
  alone.zero = 0;
  const Reference expected = run_alone(alone, kStop);
  EXPECT_EQ(run.losses, expected.losses);
  EXPECT_EQ(run.hash(), expected.hash);
  // Before backward reported its last gradient, the embedding's, all buckets behind it were on their way.
  ASSERT_EQ(std::ssize(run.watched->started_before_the_end), kStop);
  for (int64_t started : run.watched->started_before_the_end) EXPECT_GE(started, 3);
}

TEST(DataParallelOrder, OtherShardsAreAnotherOrderOfSums) {
  const auto alone = make_solo_communicator();
  const fs::path folder = testing_data::fresh_folder("order");
  SmallRun run(*alone, folder, {.shards = 3});
  run.run();
  EXPECT_NE(run.hash(), reference().hash) << "this model cannot tell orders of sums apart";
}

}  // namespace
}  // namespace fern
