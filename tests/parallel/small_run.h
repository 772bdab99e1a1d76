// Whole training runs on several ranks, small enough for a test.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/checkpoint/topology_file.h"
#include "framework/model/config_json.h"
#include "framework/train/trainer.h"
#include "parallel/data_reducer.h"
#include "parallel/layer_split.h"
#include "parallel/parallelize.h"
#include "parallel/rank_context_axis.h"
#include "parallel/rank_dispatcher.h"
#include "parallel/rank_link.h"
#include "parallel/rank_pattern_link.h"
#include "parallel/rank_tensor_axis.h"
#include "parallel/rank_tensors.h"
#include "parallel/rank_values.h"
#include "tests/framework/data/loader_fixture.h"
#include "tests/support/mpi_main.h"

namespace fern {

namespace fs = std::filesystem;
using testing_support::world;

inline constexpr int64_t kSteps = 50;
inline constexpr int64_t kStop = 20;
inline constexpr int64_t kShards = 4;

// A name that all ranks of this program share, and no other program has.
inline std::string shared_name(const std::string& name) {
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
inline const testing_data::SmallData& data() {
  static const testing_data::SmallData small("ranks");
  return small;
}

// More chunks than ranks, so that ZeRO has slices to share out.
inline ModelConfig small_model(bool tied, const ExpertConfig& experts = {}) {
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
  int64_t pipeline = 1;
  int64_t layers = 2;
  bool recompute = false;
  bool qk_norm = false;
  DType dtype = DType::kF32;
  int64_t tensor = 1;
  int64_t heads = 4, kv_heads = 2;
  int64_t vocabulary = 1000;
  double peak = 1e-2;  // learning rate
  SparsityConfig sparsity = {};
  int64_t context = 1;
  int64_t expert = 1;
  int64_t virtual_stages = 1;

  ModelConfig model() const {
    ModelConfig config = small_model(tied, experts);
    config.layers = layers;
    config.recompute = recompute;
    config.qk_norm = qk_norm;
    config.dtype = dtype;
    config.heads = heads;
    config.kv_heads = kv_heads;
    config.vocabulary = vocabulary;
    return config;
  }
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
  int64_t shards() const override { return inner_.shards(); }
  int64_t shard(int64_t i) const override { return inner_.shard(i); }
  void begin_shard() override { inner_.begin_shard(); }
  void begin_last_micro_batch() override { inner_.begin_last_micro_batch(); }
  void end_shard() override { inner_.end_shard(); }
  void finish() override {
    started_before_the_end.push_back(started_);
    inner_.finish();
  }
  Slices slices() const override { return inner_.slices(); }
  Slices counted() const override { return inner_.counted(); }
  void gather_values() override { inner_.gather_values(); }
  void gather_everywhere(std::span<float> whole, std::span<const float> slices) override {
    inner_.gather_everywhere(whole, slices);
  }
  Slices slices_of(const Parameters& parameters) const override { return inner_.slices_of(parameters); }
  void set_layout(const Parameters& parameters) override { inner_.set_layout(parameters); }
  int64_t sent_bytes() const override { return inner_.sent_bytes(); }

  DataReducer& inner() { return inner_; }

  std::vector<int64_t> started_before_the_end;

 private:
  DataReducer inner_;
  int64_t started_ = 0;
};

// A run on the ranks of `communicator`: 12 micro-batches of one sequence a step, so ranks accumulate several.
struct SmallRun {
  ModelConfig config;
  MeshCommunicators communicators;
  std::optional<RankTensorAxis> axis;
  std::optional<RankContextAxis> context_axis;
  std::optional<RankDispatcher> dispatcher;
  Transformer whole;
  Arena activations;
  Transformer model;
  RankPatternLink pattern_link;
  std::unique_ptr<Method> method;  // until the topology has it
  Arena parameters, topology_arena;
  Loader loader = data().loader(1);
  Schedule schedule;
  Ledger ledger{std::vector<std::string>{"am", "sw", "yo"}};
  Arena reduction, moments;
  Reducers reducers;
  std::unique_ptr<Topology> topology;
  std::unique_ptr<GradReducer> scored_gradients;
  std::optional<AdamW> optimizer;
  std::optional<RankLink> link;
  std::optional<RankTensors> tensors;
  std::optional<Trainer> trainer;
  std::vector<double> losses, norms, flops;
  std::vector<TopologyUpdate> updates;
  std::vector<SparsityMetrics> watched_weights;
  int64_t sent_bytes = 0, pipeline_sent_bytes = 0, tensor_sent_bytes = 0, context_sent_bytes = 0,
          expert_sent_bytes = 0;
  int64_t tokens = 0, loss_tokens = 0;
  const WatchedReducer* watched = nullptr;

  SmallRun(Communicator& communicator, const fs::path& checkpoints, const Variant& variant = {})
      : config(variant.model()),
        communicators(resolve({.data = 0,
                               .tensor = variant.tensor,
                               .pipeline = variant.pipeline,
                               .expert = variant.expert,
                               .context = variant.context,
                               .zero = variant.zero,
                               .virtual_stages = variant.virtual_stages},
                              communicator.size(), variant.shards, variant.layers),
                      communicator),
        whole(config),
        activations("activations", size_t{1} << 24),
        model(config, parts_of_stage(config, communicators.mesh(), communicators.place().stage),
              tensor_axis(), shared_context(), token_dispatcher()),
        pattern_link(communicators),
        method(set_patterns(variant.sparsity)),
        parameters(sized_arena("parameters", [&](Arena& a) { allocate_parameters(a); })),
        topology_arena("topology", size_t{1} << 23),
        reduction("reduction", size_t{1} << 26),
        moments("moments", size_t{1} << 24) {
    schedule = {.peak = variant.peak, .warmup_steps = 2, .steps = kSteps};
    model.parameters().initialize(1);
    const int64_t shards = variant.shards;
    reducers = parallelize(model.parameters(), communicators, shards, reduction);
    if (communicators.mesh().replicas() > 1 && variant.expert == 1) watch(communicators.data(), variant);
    if (reducers.values) model.take_values_from(*reducers.values);
    add_topology(shards);
    optimizer.emplace(AdamWConfig{}, model.parameters(), reducers.gradients->slices(), moments);
    Manifest manifest;
    manifest.model = to_json(config);
    manifest.tokenizer_sha256 = std::string(64, 'a');
    const bool is_whole = variant.pipeline * variant.tensor * variant.expert == 1;
    link.emplace(config, config.context / variant.context, communicators, activations);
    tensors.emplace(layout(), model.parameters(), *optimizer, communicators);
    trainer.emplace(TrainConfig{.steps = kSteps, .reduction_shards = shards},
                    TrainParts{.model = model,
                               .optimizer = *optimizer,
                               .schedule = schedule,
                               .loader = loader,
                               .gradients = *reducers.gradients,
                               .scalars = *reducers.scalars,
                               .ledger = ledger,
                               .topology = topology.get(),
                               .scored_gradients = scored_gradients.get(),
                               .link = &*link,
                               .tensors = &*tensors,
                               .whole = is_whole ? nullptr : &whole.parameters()},
                    RunFolder{checkpoints, manifest, {}}, activations);
  }
  SmallRun(const SmallRun&) = delete;
  SmallRun& operator=(const SmallRun&) = delete;

  void watch(Communicator& communicator, const Variant& variant) {
    const Region region = whole_region(model.parameters());
    auto reducer = std::make_unique<WatchedReducer>(
        region,
        plan_of(region, communicators.mesh(), variant.shards, communicator.rank(), variant.largest_bucket),
        communicator, reduction);
    watched = reducer.get();
    if (reducers.values) {
      reducers.values = std::make_unique<RankValues>(model.parameters(), std::vector{&reducer->inner()});
    }
    reducers.gradients = std::move(reducer);
  }
  // Of the whole model.
  Parameters& layout() {
    const Mesh& mesh = communicators.mesh();
    return mesh.pipeline * mesh.tensor * mesh.expert == 1 ? model.parameters() : whole.parameters();
  }
  std::unique_ptr<Method> set_patterns(const SparsityConfig& sparsity) {
    std::unique_ptr<Method> made = make_method(sparsity, layout(), kSteps, 1);
    if (!made) return nullptr;
    if (&layout() != &model.parameters()) set_first_sizes(layout(), *made, {});
    set_initial_patterns(model.parameters(), *made);
    if (communicators.mesh().tensor > 1 && traits_of(sparsity.method).grows)
      set_room_of_shares(model.parameters(), layout());
    return made;
  }
  void add_topology(int64_t shards) {
    if (!method) return;
    topology = std::make_unique<Topology>(std::move(method), model.parameters(), topology_arena,
                                          Topology::Part{layout(), pattern_link});
    if (!topology->scored().empty())
      scored_gradients = parallelize_scores(topology->scored(), topology->experts_begin(), communicators,
                                            shards, topology_arena);
  }
  TensorAxis* tensor_axis() {
    if (communicators.mesh().tensor == 1) return nullptr;
    return &axis.emplace(communicators.tensor(), activations);
  }
  ContextAxis* shared_context() {
    if (communicators.context() == nullptr) return nullptr;
    return &context_axis.emplace(*communicators.context());
  }
  TokenDispatcher* token_dispatcher() {
    if (communicators.mesh().expert == 1) return nullptr;
    return &dispatcher.emplace(*communicators.experts());
  }
  void allocate_parameters(Arena& arena) {
    model.parameters().allocate(arena, DType::kF32);
    const Mesh& mesh = communicators.mesh();
    if (fetches_values(model.parameters(), mesh) && !arena.is_measuring())
      model.parameters().keep_values(
          kept_values(model.parameters(), mesh, replica_index(mesh, communicators.place())));
  }

  // Until the end, or until it has saved after step `stop_after`.
  void run(int64_t stop_after = -1) {
    std::atomic<bool> stop = false;
    trainer->run(stop, [&](const StepMetrics& step) {
      losses.push_back(step.loss);
      norms.push_back(step.grad_norm);
      flops.push_back(step.flops);
      if (step.topology) updates.push_back(*step.topology);
      if (step.sparsity) watched_weights.push_back(*step.sparsity);
      sent_bytes += step.sent_bytes;
      pipeline_sent_bytes += step.pipeline_sent_bytes;
      tensor_sent_bytes += step.tensor_sent_bytes;
      context_sent_bytes += step.context_sent_bytes;
      expert_sent_bytes += step.expert_sent_bytes;
      tokens += step.tokens;
      loss_tokens += step.loss_tokens;
      // One rank is told to stop; the others follow.
      if (step.step == stop_after && communicators.world().rank() == 0) stop = true;
    });
  }
  // The values that this rank has, and those that it fetches: here for as long as this lives. All ranks make
  // one.
  class AllValues {
   public:
    explicit AllValues(SmallRun& run)
        : experts_(static_cast<int>(run.model.parameters().own_experts())),
          end_(static_cast<int>(run.model.parameters().list().size())),
          source_(run.reducers.values ? *run.reducers.values : held_),
          common_(source_, {0, experts_}),
          own_experts_(source_, {experts_, end_ - experts_}) {}

   private:
    int experts_, end_;
    HeldValues held_;
    ValueSource& source_;
    FetchedValues common_, own_experts_;
  };
  std::string hash() {
    const AllValues all(*this);
    return weights_hash(model.parameters());
  }
};

struct Reference {
  std::string hash, topology;
  std::vector<double> losses, norms, flops;
  std::vector<TopologyUpdate> updates;
  std::vector<SparsityMetrics> watched_weights;
};

// Until the end, or until step `stop_after`.
inline Reference run_alone(const Variant& variant, int64_t stop_after = -1) {
  const auto alone = make_solo_communicator();
  const fs::path folder = testing_data::fresh_folder("reference");
  SmallRun run(*alone, folder, variant);
  run.run(stop_after);
  return {run.hash(),         topology_hash(run.model.parameters()),
          run.losses,         run.norms,
          run.flops,          run.updates,
          run.watched_weights};
}

}  // namespace fern
