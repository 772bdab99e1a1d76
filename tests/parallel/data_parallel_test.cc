// Whole training runs on several ranks, held to the run of one process bit by bit.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "framework/model/config_json.h"
#include "framework/train/trainer.h"
#include "parallel/data_reducer.h"
#include "parallel/parallelize.h"
#include "tests/framework/data/loader_fixture.h"
#include "tests/support/mpi_main.h"

namespace fern {
namespace {

namespace fs = std::filesystem;
using testing_support::world;

constexpr int64_t kSteps = 50;
constexpr int64_t kStop = 20;
constexpr int64_t kShards = 4;

// A name that all ranks of this program share, and no other program has.
std::string shared_name(const std::string& name) {
  int64_t process = getpid();
  world().broadcast(std::as_writable_bytes(std::span(&process, 1)), 0);
  return name + "_" + std::to_string(process);
}

// A folder that all ranks see, empty until rank 0 writes to it, and gone with this.
class SharedFolder {
 public:
  explicit SharedFolder(const std::string& name)
      : path_(fs::path(testing::TempDir()) / shared_name("fern_" + name)) {}
  ~SharedFolder() {
    world().barrier();
    std::error_code ignored;
    if (world().rank() == 0) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Every rank writes the same shards for itself.
const testing_data::SmallData& data() {
  static const testing_data::SmallData small("ranks");
  return small;
}

// More chunks than ranks, so that ZeRO has slices to share out.
ModelConfig small_model(bool tied, const ExpertConfig& experts = {}) {
  return {.vocabulary = 1000,
          .layers = 2,
          .hidden = 64,
          .heads = 4,
          .kv_heads = 2,
          .ffn = 96,
          .context = 16,
          .tie_embeddings = tied,
          .experts = experts};
}

// How a run differs from the others.
struct Variant {
  int64_t zero = 0;
  int64_t shards = kShards;
  bool tied = true;
  int64_t largest_bucket = kLargestBucket;
  ExpertConfig experts = {};
};

// The ranks' reducer, watched: how many buckets' exchanges each step had started when backward was about to
// report its last gradient.
class WatchedReducer final : public GradReducer {
 public:
  template <typename... Args>
  explicit WatchedReducer(Args&&... args) : inner_(std::forward<Args>(args)...) {}
  void add(const Parameter& parameter) override {
    started_ = inner_.started();
    inner_.add(parameter);
  }
  int64_t first_shard() const override { return inner_.first_shard(); }
  int64_t last_shard() const override { return inner_.last_shard(); }
  void begin_shard() override { inner_.begin_shard(); }
  void begin_last_micro_batch() override { inner_.begin_last_micro_batch(); }
  void end_shard() override { inner_.end_shard(); }
  void finish() override {
    started_before_the_end.push_back(started_);
    inner_.finish();
  }
  Slice slice() const override { return inner_.slice(); }
  Slice counted() const override { return inner_.counted(); }
  void gather_values() override { inner_.gather_values(); }
  void gather_slices(std::span<float> whole, std::span<const float> slice) override {
    inner_.gather_slices(whole, slice);
  }
  bool is_writer() const override { return inner_.is_writer(); }
  void gather_everywhere(std::span<float> whole, std::span<const float> slice) override {
    inner_.gather_everywhere(whole, slice);
  }
  Slice slice_of(int64_t padded_elements) const override { return inner_.slice_of(padded_elements); }
  void set_layout(const Parameters& parameters) override { inner_.set_layout(parameters); }
  int64_t sent_bytes() const override { return inner_.sent_bytes(); }

  std::vector<int64_t> started_before_the_end;

 private:
  DataReducer inner_;
  int64_t started_ = 0;
};

// A run on the ranks of `communicator`: 12 micro-batches of one sequence a step, so ranks accumulate several.
struct SmallRun {
  Transformer model;
  Arena parameters;
  Loader loader = data().loader(1);
  Schedule schedule{.peak = 1e-2, .warmup_steps = 2, .steps = kSteps};
  Ledger ledger{std::vector<std::string>{"am", "sw", "yo"}};
  Arena reduction, moments, activations;
  Reducers reducers;
  std::optional<AdamW> optimizer;
  std::optional<Trainer> trainer;
  std::vector<double> losses, norms;
  int64_t sent_bytes = 0;
  const WatchedReducer* watched = nullptr;

  SmallRun(Communicator& communicator, const fs::path& checkpoints, const Variant& variant = {})
      : model(small_model(variant.tied, variant.experts)),
        parameters(sized_arena("parameters", [&](Arena& a) { allocate_parameters(a); })),
        reduction("reduction", size_t{1} << 24),
        moments("moments", size_t{1} << 22),
        activations("activations", size_t{1} << 24) {
    model.parameters().initialize(1);
    const int64_t shards = variant.shards;
    const Mesh mesh = resolve({.data = 0, .zero = variant.zero}, communicator.size(), shards);
    reducers = parallelize(model.parameters(), mesh, shards, communicator, reduction);
    if (communicator.size() > 1) watch(communicator, variant);
    optimizer.emplace(AdamWConfig{}, model.parameters(), reducers.gradients->slice(), moments);
    Manifest manifest;
    manifest.model = to_json(small_model(variant.tied, variant.experts));
    manifest.tokenizer_sha256 = std::string(64, 'a');
    trainer.emplace(
        TrainConfig{.steps = kSteps, .reduction_shards = shards},
        TrainParts{model, *optimizer, schedule, loader, *reducers.gradients, *reducers.scalars, ledger},
        RunFolder{checkpoints, manifest, {}}, activations);
  }
  SmallRun(const SmallRun&) = delete;
  SmallRun& operator=(const SmallRun&) = delete;

  void watch(Communicator& communicator, const Variant& variant) {
    auto reducer = std::make_unique<WatchedReducer>(
        model.parameters(),
        plan_reduction(model.parameters().padded_elements(), variant.shards, communicator.rank(),
                       communicator.size(), variant.zero, variant.largest_bucket),
        communicator, reduction);
    watched = reducer.get();
    reducers.gradients = std::move(reducer);
  }
  void allocate_parameters(Arena& arena) { model.parameters().allocate(arena, DType::kF32); }

  // Until the end, or until it has saved after step `stop_after`.
  void run(int64_t stop_after = -1) {
    std::atomic<bool> stop = false;
    trainer->run(stop, [&](const StepMetrics& step) {
      losses.push_back(step.loss);
      norms.push_back(step.grad_norm);
      sent_bytes += step.sent_bytes;
      // One rank is told to stop; the others follow.
      if (step.step == stop_after && reducers.gradients->is_writer()) stop = true;
    });
  }
  std::string hash() const { return weights_hash(model.parameters()); }
};

struct Reference {
  std::string hash;
  std::vector<double> losses, norms;
};

// Until the end, or until step `stop_after`.
Reference run_alone(const Variant& variant, int64_t stop_after = -1) {
  const auto alone = make_solo_communicator();
  const fs::path folder = testing_data::fresh_folder("reference");
  SmallRun run(*alone, folder, variant);
  run.run(stop_after);
  return {run.hash(), run.losses, run.norms};
}

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
