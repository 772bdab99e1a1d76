// Whole training runs on several ranks, held to the run of one process bit by bit.
#include <map>
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
INSTANTIATE_TEST_SUITE_P(Zero, DataParallel, testing::Values(0, 1, 2, 3), testing::PrintToStringParamName());

TEST_P(DataParallel, FiftyStepsEqualOneProcessToTheBit) {
  const SharedFolder folder("fifty");
  SmallRun run(world(), folder.path(), {.zero = GetParam()});
  run.run();
  EXPECT_EQ(run.losses, reference().losses);
  EXPECT_EQ(run.norms, reference().norms);
  EXPECT_EQ(run.hash(), reference().hash);
}

// Of N ranks and F bytes of weights, all together: N - 1 times F of sums that go out, in each of S / N rounds
// from stage 2 on; then what is added up, whole to all, or with slices to those that keep it, which of two
// ranks add it up themselves; then the values, and with stage 3 instead those of each layer for each of 12
// micro-batches.
TEST_P(DataParallel, SendsTheBytesOfTheFormula) {
  const SharedFolder folder("traffic");
  SmallRun run(world(), folder.path(), {.zero = GetParam()});
  run.run(kStop);
  double sent = static_cast<double>(run.sent_bytes);
  world().all_reduce_sum({&sent, 1});
  const Parameters& parameters = run.model.parameters();
  const Mesh& mesh = run.communicators.mesh();
  double planned = 0;
  for (int rank = 0; rank < world().size(); ++rank)
    planned += static_cast<double>(data_sent_bytes(parameters, mesh, kShards, rank) +
                                   12 / world().size() *
                                       fetched_bytes(parameters, run.model.fetched_values(), mesh, rank));
  EXPECT_EQ(sent, kStop * planned);

  const double all = 4.0 * static_cast<double>(parameters.padded_elements() * (world().size() - 1));
  const double sums = all * (GetParam() > 1 ? kShards / world().size() : 1);
  double values = all, to_one = world().size() > 2 ? all / (world().size() - 1) : 0;  // at most
  if (GetParam() == 0) {
    values = 0;
    to_one = all;
  } else if (GetParam() == 3) {
    values = 0;
    for (const ParameterRun fetched : run.model.fetched_values())
      values += 4.0 * static_cast<double>(12 / world().size() * (world().size() - 1) *
                                          fetched_elements(parameters, fetched).elements());
  }
  EXPECT_LE(planned, sums + to_one + values);
  EXPECT_GE(planned, sums + (GetParam() == 0 ? to_one : 0) + values);
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

// At a learning rate that breaks the model the first update is the last.
TEST_P(DataParallel, StepsThatAreNotFiniteAreSkippedByAll) {
  const auto alone = make_solo_communicator();
  SmallRun expected(*alone, testing_data::fresh_folder("skipped_alone"), {.peak = 1e30});
  expected.run(6);
  ASSERT_GE(expected.trainer->skipped(), 4);
  const SharedFolder folder("skipped");
  SmallRun run(world(), folder.path(), {.zero = GetParam(), .peak = 1e30});
  run.run(6);
  EXPECT_EQ(run.trainer->skipped(), expected.trainer->skipped());
  EXPECT_EQ(run.hash(), expected.hash());
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
                         testing::Combine(testing::Values(0, 1, 2, 3), testing::Bool(),
                                          testing::Values(4, 12)));

TEST_P(DataParallelBuckets, EqualOneProcessToTheBit) {
  const SharedFolder folder("buckets");
  SmallRun run(world(), folder.path(), variant());
  run.run(kStop);
  Variant alone = variant();
  alone.zero = 0;
  static std::map<std::pair<bool, int64_t>, Reference> known;
  const auto [at, is_new] = known.try_emplace({alone.tied, alone.shards});
  if (is_new) at->second = run_alone(alone, kStop);
  const Reference& expected = at->second;
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
