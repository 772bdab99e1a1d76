// Whole training runs on several ranks, held to the run of one process bit by bit.
#include <map>
#include <tuple>

#include "tests/framework/data/fixture.h"
#include "tests/parallel/small_run.h"

namespace fern {
namespace {

// The run of one process that never stopped.
const RunResult& reference() {
  static const RunResult whole = run_alone({});
  return whole;
}

// Looks at what the first rank has of a run that went to the end, or was resumed and did.
void expect_equals_one_process(const RunResult& run, const RunResult& (*reference)()) {
  if (world().rank() != 0) return;
  const RunResult& expected = reference();
  EXPECT_EQ(run.losses, std::vector(expected.losses.begin() + run.begin, expected.losses.end()));
  EXPECT_EQ(run.norms, std::vector(expected.norms.begin() + run.begin, expected.norms.end()));
  EXPECT_EQ(run.weights, expected.weights);
  EXPECT_EQ(run.moments, expected.moments);
}

// By ZeRO stage. All gradients are one bucket.
class DataParallel : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Zero, DataParallel, testing::Values(0, 1, 2, 3), testing::PrintToStringParamName());

TEST_P(DataParallel, EqualsOneProcessToTheBit) {
  expect_equals_one_process(run_on_all({.zero = GetParam()}), reference);
}

// Of N ranks and F bytes of weights, all together: N - 1 times F of sums that go out, in each of S / N rounds
// from stage 2 on; then what is added up, whole to all, or with slices to those that keep it, which of two
// ranks add it up themselves; then the values, and with stage 3 instead those of each layer for each of 12
// micro-batches.
TEST_P(DataParallel, SendsTheBytesOfTheFormula) {
  const SharedFolder folder("traffic");
  SmallRun run(world(), folder.path(), {.zero = GetParam()});
  run.run(2);
  double sent = static_cast<double>(run.result.sent_bytes);
  world().all_reduce_sum({&sent, 1});
  const Parameters& parameters = run.model.parameters();
  const Mesh& mesh = run.communicators.mesh();
  double planned = 0;
  for (int rank = 0; rank < world().size(); ++rank)
    planned += static_cast<double>(data_sent_bytes(parameters, mesh, kShards, rank) +
                                   12 / world().size() *
                                       fetched_bytes(parameters, run.model.fetched_values(), mesh, rank));
  EXPECT_EQ(sent, 2 * planned);

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
  expect_equals_one_process(stop_here_resume_alone({.zero = GetParam()}), reference);
}

TEST_P(DataParallel, StoppedAloneAndResumedHereEqualsNotStopping) {
  expect_equals_one_process(stop_alone_resume_here({.zero = GetParam()}), reference);
}

// At a learning rate that breaks the model the first update is the last.
TEST_P(DataParallel, StepsThatAreNotFiniteAreSkippedByAll) {
  const auto solo = make_solo_communicator();
  SmallRun expected(*solo, testing_data::fresh_folder("skipped_alone"), {.peak = 1e30});
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

const RunResult& reference_with_experts() {
  static const RunResult whole = run_alone({.experts = kExperts});
  return whole;
}

TEST_P(DataParallel, ExpertsEqualOneProcessToTheBit) {
  expect_equals_one_process(
      run_on_all({.zero = GetParam(), .largest_bucket = kParameterChunk, .experts = kExperts}),
      reference_with_experts);
}

TEST_P(DataParallel, ExpertsStoppedHereAndResumedAloneEqualNotStopping) {
  expect_equals_one_process(stop_here_resume_alone({.zero = GetParam(), .experts = kExperts}),
                            reference_with_experts);
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
  if (world().rank() == 0) {
    static std::map<std::pair<bool, int64_t>, RunResult> known;
    const auto [at, is_new] = known.try_emplace({variant().tied, variant().shards});
    if (is_new) at->second = run_alone(variant(), kStop);
    EXPECT_EQ(run.result.losses, at->second.losses);
    EXPECT_EQ(run.result.weights, at->second.weights);
  }
  // Before backward reported its last gradient, the embedding's, all buckets behind it were on their way.
  ASSERT_EQ(std::ssize(run.started_before_the_end), kStop);
  for (const int64_t started : run.started_before_the_end) EXPECT_GE(started, 3);
}

TEST(DataParallelOrder, OtherShardsAreAnotherOrderOfSums) {
  if (world().rank() != 0) GTEST_SKIP() << "on one process";
  EXPECT_NE(run_alone({.shards = 3}).weights, reference().weights)
      << "this model cannot tell orders of sums apart";
}

}  // namespace
}  // namespace fern
