// Whole training runs of ranks that share experts, held to the run of one process.
#include <algorithm>
#include <map>

#include "tests/parallel/small_run.h"

namespace fern {
namespace {

struct Case {
  std::string name;
  Variant variant;
  int ranks = 0;            // for which it is; 0: any
  double tolerance = 1e-5;  // relative, of each step's loss
};

void PrintTo(const Case& entry, std::ostream* out) { *out << entry.name; }

// All ranks share the experts, but where the case says how many.
Variant on_all_ranks(Variant variant) {
  if (variant.expert == 0) variant.expert = world().size();
  variant.peak = 3e-3;  // where rounding does not grow
  variant.shards = variant.virtual_stages == 1 ? 12 : 6;
  return variant;
}

Variant alone(Variant variant) {
  variant = on_all_ranks(variant);
  variant.expert = variant.tensor = variant.pipeline = variant.virtual_stages = variant.context = 1;
  variant.zero = 0;
  return variant;
}

class ExpertParallelRun : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (world().size() == 1 || (GetParam().ranks != 0 && world().size() != GetParam().ranks))
      GTEST_SKIP() << "not of so many ranks";
  }
  // The losses of steps first + 1, first + 2, ...
  static void expect_losses_of_one_process(const std::vector<double>& losses, size_t first = 0) {
    static std::map<std::string, std::vector<double>> of_one;
    std::vector<double>& expected = of_one[GetParam().name];
    if (expected.empty()) expected = run_alone(alone(GetParam().variant)).losses;
    ASSERT_LE(first + losses.size(), expected.size());
    for (size_t i = 0; i < losses.size(); ++i)
      ASSERT_NEAR(losses[i], expected[first + i], GetParam().tolerance * expected[first + i])
          << "step " << first + i + 1;
  }
};

constexpr int64_t kStopped = 8, kResumed = 12;  // steps after which runs stop
constexpr const char* kCheckpoint = "step-000008";

SparsityConfig sparse(SparsityMethod method) {
  SparsityConfig config;
  config.method = method;
  config.sparsity = 0.75;
  config.interval = 10;
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
        Case{"bf16", {.experts = kExperts, .dtype = DType::kBF16, .expert = 0}, 2, 2e-2}),
    [](const auto& info) { return info.param.name; });

TEST_P(ExpertParallelRun, LossesAreThoseOfOneProcess) {
  const SharedFolder folder("expert");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run();
  ASSERT_EQ(std::ssize(run.losses), kSteps);
  expect_losses_of_one_process(run.losses);
}

// Every rank logs the same numbers, and what several hold has the same bits on them; the same run again has
// the same bits altogether.
TEST_P(ExpertParallelRun, RanksAgreeToTheBitAndSoDoRuns) {
  const SharedFolder folder("agree");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run(4);
  std::vector<double> told = run.losses;
  told.insert(told.end(), run.norms.begin(), run.norms.end());
  std::vector<double> sum = told;
  world().all_reduce_sum(sum);
  for (size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], world().size() * told[i]) << i;
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
  const SharedFolder again_folder("again");
  SmallRun again(world(), again_folder.path(), on_all_ranks(GetParam().variant));
  again.run(4);
  EXPECT_EQ(again.losses, run.losses);
  EXPECT_EQ(again.norms, run.norms);
  EXPECT_EQ(again.hash(), run.hash());
}

// Stopped under one layout, gone on with under the other.
TEST_P(ExpertParallelRun, StoppedHereAndResumedAloneGoesOn) {
  const SharedFolder folder("stopped");
  SmallRun first(world(), folder.path(), on_all_ranks(GetParam().variant));
  first.run(kStopped);
  world().barrier();
  const auto solo = make_solo_communicator();
  SmallRun second(*solo, testing_data::fresh_folder("resumed"), alone(GetParam().variant));
  second.trainer->resume(folder.path() / kCheckpoint);
  second.run(kResumed);
  expect_losses_of_one_process(second.losses, kStopped);
}

TEST_P(ExpertParallelRun, StoppedAloneAndResumedHereGoesOn) {
  const SharedFolder folder("alone");
  if (world().rank() == 0) {
    const auto solo = make_solo_communicator();
    SmallRun first(*solo, folder.path(), alone(GetParam().variant));
    first.run(kStopped);
  }
  world().barrier();
  SmallRun second(world(), folder.path(), on_all_ranks(GetParam().variant));
  second.trainer->resume(folder.path() / kCheckpoint);
  second.run(kResumed);
  expect_losses_of_one_process(second.losses, kStopped);
}

// With data ranks that each hold all experts.
TEST_P(ExpertParallelRun, StoppedWithAllExpertsAndResumedHereGoesOn) {
  const SharedFolder folder("data");
  Variant data = alone(GetParam().variant);
  data.zero = 1;
  if (data.shards % world().size() != 0) GTEST_SKIP() << "shards for fewer data ranks";
  SmallRun first(world(), folder.path(), data);
  first.run(kStopped);
  world().barrier();
  SmallRun second(world(), folder.path(), on_all_ranks(GetParam().variant));
  second.trainer->resume(folder.path() / kCheckpoint);
  second.run(kResumed);
  expect_losses_of_one_process(second.losses, kStopped);
}

// What ranks that share experts log of patterns is what one process logs, and so are the patterns.
TEST_P(ExpertParallelRun, TopologyIsThatOfOneProcess) {
  if (GetParam().variant.sparsity.method == SparsityMethod::kDense) GTEST_SKIP() << "it is dense";
  const SharedFolder folder("topology");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run(kResumed);
  const Reference one = run_alone(alone(GetParam().variant), kResumed);
  ASSERT_EQ(run.updates.size(), one.updates.size());
  for (size_t i = 0; i < one.updates.size(); ++i) {
    EXPECT_EQ(run.updates[i].counts.grown, one.updates[i].counts.grown);
    EXPECT_EQ(run.updates[i].counts.dropped, one.updates[i].counts.dropped);
    EXPECT_EQ(run.updates[i].nonzeros, one.updates[i].nonzeros);
    if (world().rank() == 0) {
      EXPECT_EQ(run.updates[i].hash, one.updates[i].hash);
    }
  }
  ASSERT_EQ(run.watched_weights.size(), one.watched_weights.size());
  for (size_t i = 0; i < one.watched_weights.size(); ++i) {
    const std::vector<WeightMetrics>&got = run.watched_weights[i].weights,
          &expected = one.watched_weights[i].weights;
    ASSERT_EQ(got.size(), expected.size());
    for (size_t w = 0; w < got.size(); ++w) {
      EXPECT_EQ(got[w].name, expected[w].name);
      EXPECT_EQ(got[w].nonzeros, expected[w].nonzeros) << got[w].name;
      EXPECT_EQ(got[w].active_rows, expected[w].active_rows) << got[w].name;
      EXPECT_EQ(got[w].ever_active, expected[w].ever_active) << got[w].name;
      EXPECT_NEAR(got[w].gradient_norm, expected[w].gradient_norm, 1e-4 * expected[w].gradient_norm)
          << got[w].name;
    }
  }
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
  const Variant variant = on_all_ranks(GetParam().variant);
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
  const Variant variant = on_all_ranks(GetParam().variant);
  SmallRun run(world(), folder.path(), variant);
  run.run(2);
  const Mesh& mesh = run.communicators.mesh();
  const Parameters& parameters = run.model.parameters();
  const int64_t replica = replica_index(mesh, run.communicators.place());
  EXPECT_EQ(run.sent_bytes,
            2 * (data_sent_bytes(parameters, mesh, variant.shards, replica) +
                 12 / mesh.data * fetched_bytes(parameters, run.model.fetched_values(), mesh, replica)));
}

// What a run has come to.
struct End {
  std::vector<double> losses, norms;  // on the first rank
  std::string weights, moments, topology;
  bool operator==(const End&) const = default;
};

// Of a run on the first `ranks`.
End end_of(Variant variant, int64_t ranks) {
  const SharedFolder folder("end");
  variant.tied = false;
  variant.experts = kExperts;
  variant.shards = 12;
  const bool runs = world().rank() < ranks;
  const auto group = world().group(Axis::kWorld, runs ? 0 : 1);
  End end;
  if (runs) {
    SmallRun run(*group, folder.path(), variant);
    run.run(kStopped);
    if (world().rank() == 0) end = {run.losses, run.norms, {}, {}, {}};
  }
  world().barrier();
  const Manifest manifest = read_manifest(folder.path() / kCheckpoint);
  end.weights = manifest.weights_hash;
  end.moments = manifest.optimizer_hash;
  end.topology = manifest.topology_hash;
  return end;
}

// All experts are used by every token, so it is known how many rows leave.
TEST_P(ExpertParallelRun, SendsRowsAsPlanned) {
  const SharedFolder folder("rows");
  Variant variant = on_all_ranks(GetParam().variant);
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
    expected += static_cast<double>(run.tokens * mesh.tensor * (8 - 8 / mesh.expert) * traffic.row_bytes);
  }
  EXPECT_EQ(sum_over_ranks(run.expert_sent_bytes), expected);
}

// How data, ZeRO, stages and shards of a rank are laid out beside the shares of experts changes no bit.
TEST(ExpertParallel, OtherAxesChangeNoBit) {
  if (world().size() != 4) GTEST_SKIP() << "of 4 ranks";
  for (const auto& [method, most] :
       {std::pair{SparsityMethod::kDense, 3}, {SparsityMethod::kStatic, 3}, {SparsityMethod::kRigl, 2}}) {
    Variant variant = {.sparsity = sparse(method), .expert = 2};
    variant.sparsity.interval = 3;
    const End expected = end_of(variant, 2);
    for (variant.zero = 0; variant.zero <= most; ++variant.zero) {
      SCOPED_TRACE(testing::Message() << name_of(method) << ", zero " << variant.zero);
      EXPECT_EQ(end_of(variant, 2), expected);
      EXPECT_EQ(end_of(variant, 4), expected) << "beside data";
      variant.pipeline = 2;
      EXPECT_EQ(end_of(variant, 4), expected) << "on two stages";
      variant.pipeline = 1;
    }
  }
}

}  // namespace
}  // namespace fern
