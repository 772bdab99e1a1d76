// Whole training runs on several ranks, small enough for a test.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/train/trainer.h"
#include "parallel/data_reducer.h"
#include "parallel/parallelize.h"
#include "parallel/rank_context_axis.h"
#include "parallel/rank_dispatcher.h"
#include "parallel/rank_link.h"
#include "parallel/rank_pattern_link.h"
#include "parallel/rank_tensor_axis.h"
#include "parallel/rank_tensors.h"
#include "parallel/rank_values.h"
#include "tests/support/mpi_main.h"

namespace fern {

namespace fs = std::filesystem;
using testing_support::world;

// Of a run: 12, or FERN_TEST_STEPS, which the slow suite sets.
inline const int64_t kSteps =
    std::getenv("FERN_TEST_STEPS") ? std::atoll(std::getenv("FERN_TEST_STEPS")) : 12;
inline constexpr int64_t kStop = 5;           // steps after which it is stopped, to be gone on with
inline constexpr int64_t kMicroBatches = 12;  // of a step, each of one sequence, so ranks accumulate several
inline constexpr int64_t kShards = 4;

// A folder that all ranks see, empty until rank 0 writes to it, and gone with this. All ranks make one.
class SharedFolder {
 public:
  explicit SharedFolder(const std::string& name);
  ~SharedFolder();
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

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
  double peak = 1e-2;         // learning rate
  double epsilon = 1e-8;      // of AdamW
  double matrix_scale = 1.0;  // times what matrices begin with
  SparsityConfig sparsity = {};
  int64_t context = 1;
  int64_t expert = 1;
  int64_t virtual_stages = 1;
  int64_t steps = kSteps;

  // More chunks than ranks, so that ZeRO has slices to share out.
  ModelConfig model() const;
  Mesh mesh() const;
  // The same run on one process.
  Variant alone() const;
};

// What a run came to. All numbers are of the whole model; those of traffic are what this rank sent.
struct RunResult {
  int64_t begin = 0;                         // steps before, of a run that was resumed
  std::string weights, moments, topology;    // hashes, as the last checkpoint says
  std::vector<double> losses, norms, flops;  // of each step
  std::vector<TopologyUpdate> updates;
  std::vector<SparsityMetrics> watched_weights;
  int64_t sent_bytes = 0, pipeline_sent_bytes = 0, tensor_sent_bytes = 0, context_sent_bytes = 0,
          expert_sent_bytes = 0;
  int64_t tokens = 0, loss_tokens = 0;
};

// A run on the ranks of `communicator`, which borrows it.
struct SmallRun {
  SmallRun(Communicator& communicator, const fs::path& checkpoints, const Variant& variant = {});
  SmallRun(const SmallRun&) = delete;
  SmallRun& operator=(const SmallRun&) = delete;

  // Until the end, or until it has saved after step `stop_after`; then `result` tells.
  void run(int64_t stop_after = -1);
  // Goes on from a checkpoint in `folder`, saved after `step`.
  void resume(const fs::path& folder, int64_t step);
  // Of the whole model.
  Parameters& layout();
  // Of the values that this rank has and those that it fetches. All ranks call it.
  std::string hash();
  // Fetches the values that others have, for as long as this lives. All ranks make one.
  class AllValues {
   public:
    explicit AllValues(SmallRun& run);

   private:
    int experts_, end_;
    HeldValues held_;
    ValueSource& source_;
    FetchedValues common_, own_experts_;
  };

  fs::path checkpoints;
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
  Loader loader;
  Schedule schedule;
  Ledger ledger;
  Arena reduction, moments;
  Reducers reducers;
  std::unique_ptr<Topology> topology;
  std::unique_ptr<GradReducer> scored_gradients;
  std::optional<AdamW> optimizer;
  std::optional<RankLink> link;
  std::optional<RankTensors> tensors;
  std::optional<Trainer> trainer;
  RunResult result;
  // By step: how many buckets' exchanges had started when backward was about to report its last gradient.
  std::vector<int64_t> started_before_the_end;

 private:
  void watch(const Variant& variant);
  std::unique_ptr<Method> set_patterns(const Variant& variant);
  void add_topology(int64_t shards);
  TensorAxis* tensor_axis();
  ContextAxis* shared_context();
  TokenDispatcher* token_dispatcher();
  void allocate_parameters(Arena& arena);
  void initialize(double matrix_scale);
  void make_trainer(const Variant& variant);
  void note(const StepMetrics& step);
};

// Until the end, or until step `stop_after`: on this process alone, and on all ranks, which fails unless all
// come to the same numbers.
RunResult run_alone(const Variant& variant, int64_t stop_after = -1);
RunResult run_on_all(const Variant& variant, int64_t stop_after = -1);

// What comes after step `stop` of a run that is stopped there on one layout and gone on with on the other:
// begun on all ranks and ended by the first of them, empty on others, or the other way round. All ranks call
// it.
RunResult stop_here_resume_alone(const Variant& here, int64_t stop = kStop);
RunResult stop_alone_resume_here(const Variant& here, int64_t stop = kStop);

// Fails unless all ranks of the communicator tell the same numbers.
void expect_agreement(Communicator& communicator, const std::vector<double>& told);

}  // namespace fern
