// Whole training runs of ranks that share experts, held to the run of one process.
#include <algorithm>
#include "parallel/layer_split.h"
#include "tests/parallel/run_cases.h"

namespace fern {
namespace {

class ExpertParallelRun : public RunCase {
 protected:
  // All ranks share the experts, but where the case says how many.
  Variant here() const override {
    Variant variant = GetParam().variant;
    if (variant.expert == 0) variant.expert = world().size();
    variant.shards = variant.virtual_stages == 1 ? 12 : 6;
    return smooth(variant);
  }
};

// Patterns change after step 6; rows are scored before and after a run stops after kStop.
SparsityConfig sparse(SparsityMethod method) {
  SparsityConfig config;
  config.method = method;
  config.sparsity = 0.75;
  config.interval = 6;
  config.stop = 1;
  config.scoring_steps = 2;
  return config;
}

constexpr ExpertConfig kExperts = {.count = 8, .active = 2, .ffn = 32, .balance_loss = 0.01};

ExpertConfig with(void (*change)(ExpertConfig&)) {
  ExpertConfig experts = kExperts;
  change(experts);
  return experts;
}

INSTANTIATE_TEST_SUITE_P(
    Variants, ExpertParallelRun,
    testing::Values(
        Case{"on_all_ranks", {.experts = kExperts, .expert = 0}},
        Case{"two_and_data", {.experts = kExperts, .expert = 2}, 4},
        Case{
            "shared_expert", {.tied = false, .experts = with([](auto& e) { e.shared = 1; }), .expert = 2}, 2},
        Case{"capacity", {.experts = with([](auto& e) { e.capacity_factor = 1; }), .expert = 2}, 2},
        Case{"biases", {.experts = with([](auto& e) { e.bias_rate = 1e-3; }), .expert = 2}, 2},
        Case{"recompute", {.experts = kExperts, .recompute = true, .expert = 2}, 2},
        Case{"with_stages", {.experts = kExperts, .pipeline = 2, .expert = 2}, 4},
        Case{"a_stage_without",
             {.experts = with([](auto& e) { e.every = 2; }), .pipeline = 2, .expert = 2},
             4},
        Case{"with_stages_of_parts",
             {.experts = kExperts, .pipeline = 2, .layers = 4, .expert = 2, .virtual_stages = 2},
             4},
        Case{"with_shares", {.experts = kExperts, .tensor = 2, .expert = 2}, 4},
        Case{"with_sequences", {.experts = kExperts, .context = 2, .expert = 2}, 4},
        Case{"zero_1", {.zero = 1, .experts = kExperts, .expert = 2}, 4},
        Case{"zero_2", {.zero = 2, .tied = false, .experts = kExperts, .expert = 2}, 2},
        Case{"zero_3", {.zero = 3, .experts = kExperts, .recompute = true, .expert = 2}, 4},
        Case{"static", {.experts = kExperts, .sparsity = sparse(SparsityMethod::kStatic), .expert = 2}, 2},
        Case{"rigl",
             {.zero = 1, .experts = kExperts, .sparsity = sparse(SparsityMethod::kRigl), .expert = 2},
             4},
        Case{"gradual_with_stages",
             {.tied = false,
              .experts = kExperts,
              .pipeline = 2,
              .sparsity = sparse(SparsityMethod::kGradual),
              .expert = 2},
             4},
        Case{"bf16", {.experts = kExperts, .dtype = DType::kBF16, .expert = 0}, 2, kRoundingOfBF16}),
    name_of_case);

TEST_P(ExpertParallelRun, LossesAreThoseOfOneProcess) { expect_losses_of_one_process(run_of_ranks()); }

// What several ranks hold has the same bits on them, and the same run again has the same bits altogether.
TEST_P(ExpertParallelRun, RanksAgreeToTheBitAndSoDoRuns) {
  const SharedFolder folder("agree");
  SmallRun run(world(), folder.path(), here());
  run.run(3);
  // What ranks hold in common adds up to so many times what each of them holds.
  const SmallRun::AllValues all(run);
  const MeshPlace& place = run.communicators.place();
  const Parameters& own = run.model.parameters();
  for (const Parameter& parameter : run.whole.parameters().list()) {
    const int index = own.find(parameter.name);
    std::vector<double> values(static_cast<size_t>(parameter.elements())), holders(1);
    const bool holds = index >= 0 && place.tensor == 0;
    if (holds)
      std::ranges::copy(own.value(index).values<float>().first(
                            static_cast<size_t>(own.list()[static_cast<size_t>(index)].elements())),
                        values.begin());
    const std::vector<double> mine = values;
    holders[0] = holds;
    world().all_reduce_sum(values);
    world().all_reduce_sum(holders);
    for (size_t i = 0; holds && i < values.size(); ++i)
      ASSERT_EQ(values[i], holders[0] * mine[i]) << parameter.name << "[" << i << "]";
  }
  const RunResult again = run_on_all(here(), 3);
  EXPECT_EQ(again.losses, run.result.losses);
  EXPECT_EQ(again.norms, run.result.norms);
  EXPECT_EQ(again.weights, run.result.weights);
}

// Stopped under one layout, gone on with under the other.
TEST_P(ExpertParallelRun, StoppedHereAndResumedAloneGoesOn) {
  expect_losses_of_one_process(stop_here_resume_alone(here()));
}

TEST_P(ExpertParallelRun, StoppedAloneAndResumedHereGoesOn) {
  expect_losses_of_one_process(stop_alone_resume_here(here()));
}

// With data ranks that each hold all experts.
TEST_P(ExpertParallelRun, StoppedWithAllExpertsAndResumedHereGoesOn) {
  Variant data = here().alone();
  data.zero = 1;
  if (data.shards % world().size() != 0) GTEST_SKIP() << "shards for fewer data ranks";
  const SharedFolder folder("data");
  SmallRun first(world(), folder.path(), data);
  first.run(kStop);
  SmallRun second(world(), folder.path(), here());
  second.resume(folder.path(), kStop);
  second.run();
  expect_losses_of_one_process(second.result);
}

// What ranks that share experts log of patterns is what one process logs, and so are the patterns.
TEST_P(ExpertParallelRun, LogsWhatOneProcessLogs) {
  expect_topology_of_one_process(run_of_ranks());
  expect_logs_of_one_process(run_of_ranks(), 1e-4);
}

double sum_over_ranks(int64_t value) {
  std::vector<double> sum = {static_cast<double>(value)};
  world().all_reduce_sum(sum);
  return sum[0];
}

double most_of_ranks(int64_t value) {
  std::vector<double> values(static_cast<size_t>(world().size()));
  values[static_cast<size_t>(world().rank())] = static_cast<double>(value);
  world().all_reduce_sum(values);
  return *std::ranges::max_element(values);
}

TEST_P(ExpertParallelRun, TakesTheMemoryThatIsPlanned) {
  const SharedFolder folder("memory");
  const Variant variant = here();
  SmallRun run(world(), folder.path(), variant);
  const Mesh& mesh = run.communicators.mesh();
  const Parameters& parameters = run.model.parameters();
  const auto taken = static_cast<int64_t>(run.reduction.used_bytes()),
             planned = static_cast<int64_t>(reducer_bytes(parameters, mesh, variant.shards));
  EXPECT_LE(taken, planned);
  EXPECT_EQ(most_of_ranks(taken), most_of_ranks(planned));
  const int64_t kept = run.optimizer->slices().elements(), most = optimizer_elements(parameters, mesh);
  EXPECT_LE(kept, most);
  EXPECT_EQ(most_of_ranks(kept), most_of_ranks(most));
}

TEST_P(ExpertParallelRun, SendsGradientsAsPlanned) {
  const SharedFolder folder("traffic");
  const Variant variant = here();
  SmallRun run(world(), folder.path(), variant);
  run.run(2);
  const Mesh& mesh = run.communicators.mesh();
  const Parameters& parameters = run.model.parameters();
  const int64_t replica = replica_index(mesh, run.communicators.place());
  EXPECT_EQ(run.result.sent_bytes,
            2 * (data_sent_bytes(parameters, mesh, variant.shards, replica) +
                 12 / mesh.data * fetched_bytes(parameters, run.model.fetched_values(), mesh, replica)));
}

// Of a run of `ranks` of the ranks.
RunResult end_of(Variant variant, int64_t ranks) {
  const SharedFolder folder("end");
  variant.tied = false;
  variant.experts = kExperts;
  variant.shards = 12;
  const bool runs = world().rank() < ranks;
  const auto group = world().group(Axis::kWorld, runs ? 0 : 1);
  if (!runs) return {};
  SmallRun run(*group, folder.path(), variant);
  run.run(7);
  return run.result;
}

void expect_same_end(const RunResult& got, const RunResult& expected, const char* where) {
  if (world().rank() != 0) return;
  SCOPED_TRACE(where);
  EXPECT_EQ(got.losses, expected.losses);
  EXPECT_EQ(got.norms, expected.norms);
  EXPECT_EQ(got.weights, expected.weights);
  EXPECT_EQ(got.moments, expected.moments);
  EXPECT_EQ(got.topology, expected.topology);
}

// All experts are used by every token, so it is known how many rows leave.
TEST_P(ExpertParallelRun, SendsRowsAsPlanned) {
  const SharedFolder folder("rows");
  Variant variant = here();
  variant.experts.active = 8;
  variant.experts.capacity_factor = 0;
  SmallRun run(world(), folder.path(), variant);
  run.run(2);
  const Mesh& mesh = run.communicators.mesh();
  double expected = 0;
  for (const ModelPart& part : split_layers(run.config, mesh.pipeline)) {
    const ExpertTraffic traffic = expert_traffic(run.config, part, mesh.expert);
    expected += static_cast<double>(2 * 12 * mesh.context * mesh.tensor * traffic.counts_bytes);
    // Of the 8 rows of a token, those that stay are for as many experts as its rank has: 8 / E on average
    // over ranks, which see different numbers of tokens; so E divides 8 here.
    expected +=
        static_cast<double>(run.result.tokens * mesh.tensor * (8 - 8 / mesh.expert) * traffic.row_bytes);
  }
  EXPECT_EQ(sum_over_ranks(run.result.expert_sent_bytes), expected);
}

// How data, ZeRO, stages and shards of a rank are laid out beside the shares of experts changes no bit.
TEST(ExpertParallel, OtherAxesChangeNoBit) {
  if (world().size() != 4) GTEST_SKIP() << "of 4 ranks";
  for (const auto& [method, most] :
       {std::pair{SparsityMethod::kDense, 3}, {SparsityMethod::kStatic, 3}, {SparsityMethod::kRigl, 2}}) {
    Variant variant = {.sparsity = sparse(method), .expert = 2};
    variant.sparsity.interval = 3;
    const RunResult expected = end_of(variant, 2);
    for (variant.zero = 0; variant.zero <= most; ++variant.zero) {
      SCOPED_TRACE(testing::Message() << name_of(method) << ", zero " << variant.zero);
      expect_same_end(end_of(variant, 2), expected, "alone");
      expect_same_end(end_of(variant, 4), expected, "beside data");
      variant.pipeline = 2;
      expect_same_end(end_of(variant, 4), expected, "on two stages");
      variant.pipeline = 1;
    }
  }
}

}  // namespace
}  // namespace fern
