#include "tests/parallel/run_cases.h"

#include <map>

namespace fern {

namespace {

// What is expected of the steps that a run tells of.
std::vector<double> as_told(const std::vector<double>& expected, const RunResult& run) {
  return {expected.begin() + run.begin, expected.end()};
}

}  // namespace

Variant smooth(Variant variant) {
  variant.peak = 3e-3;
  variant.epsilon = 1e-4;
  variant.matrix_scale = 4;
  return variant;
}

void PrintTo(const Case& entry, std::ostream* out) { *out << entry.name; }

std::string name_of_case(const testing::TestParamInfo<Case>& info) { return info.param.name; }

void RunCase::SetUp() {
  const Variant variant = here();
  const int64_t ranks = world().size(), of_a_replica = variant.tensor * variant.pipeline * variant.context,
                data = ranks / of_a_replica;
  if (ranks == 1 || (GetParam().ranks != 0 && ranks != GetParam().ranks) || ranks % of_a_replica != 0 ||
      data % variant.expert != 0 || variant.shards % data != 0 || variant.kv_heads % variant.tensor != 0)
    GTEST_SKIP() << "not of so many ranks";
}

const RunResult& RunCase::run_of_ranks() const {
  static std::map<std::string, RunResult> known;
  const auto [at, is_new] = known.try_emplace(GetParam().name);
  if (is_new) at->second = run_on_all(here());
  return at->second;
}

const RunResult& RunCase::reference() const {
  static std::map<std::string, RunResult> known;
  const auto [at, is_new] = known.try_emplace(GetParam().name);
  if (is_new) at->second = run_alone(here());
  return at->second;
}

void RunCase::expect_losses_of_one_process(const RunResult& run) const {
  if (world().rank() != 0) return;
  const std::vector<double> expected = as_told(reference().losses, run);
  ASSERT_EQ(run.losses.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(run.losses[i], expected[i], GetParam().tolerance * expected[i])
        << "step " << run.begin + static_cast<int64_t>(i) + 1;
}

void RunCase::expect_topology_of_one_process(const RunResult& run) const {
  if (world().rank() == 0) {
    EXPECT_EQ(run.topology, reference().topology);
  }
}

void RunCase::expect_bits_of_one_process(const RunResult& run) const {
  if (world().rank() != 0) return;
  const RunResult& expected = reference();
  EXPECT_EQ(run.losses, as_told(expected.losses, run));
  EXPECT_EQ(run.norms, as_told(expected.norms, run));
  EXPECT_EQ(run.weights, expected.weights);
  EXPECT_EQ(run.moments, expected.moments);
  EXPECT_EQ(run.topology, expected.topology);
}

void RunCase::expect_logs_of_one_process(const RunResult& run, double norm_tolerance) const {
  if (world().rank() != 0) return;
  const RunResult& expected = reference();
  EXPECT_EQ(run.flops, expected.flops);
  ASSERT_EQ(run.updates.size(), expected.updates.size());
  for (size_t i = 0; i < run.updates.size(); ++i) {
    const TopologyUpdate &got = run.updates[i], &one = expected.updates[i];
    EXPECT_EQ(got.counts.dropped, one.counts.dropped);
    EXPECT_EQ(got.counts.grown, one.counts.grown);
    EXPECT_EQ(got.nonzeros, one.nonzeros);
    EXPECT_EQ(got.hash, one.hash);
  }
  ASSERT_EQ(run.watched_weights.size(), expected.watched_weights.size());
  for (size_t i = 0; i < run.watched_weights.size(); ++i) {
    const std::vector<WeightMetrics>& weights = run.watched_weights[i].weights;
    ASSERT_EQ(weights.size(), expected.watched_weights[i].weights.size());
    for (size_t w = 0; w < weights.size(); ++w) {
      WeightMetrics got = weights[w];
      const WeightMetrics& one = expected.watched_weights[i].weights[w];
      EXPECT_NEAR(got.gradient_norm, one.gradient_norm, norm_tolerance * one.gradient_norm) << one.name;
      got.gradient_norm = one.gradient_norm;
      EXPECT_EQ(got, one) << one.name;
    }
  }
}

}  // namespace fern
