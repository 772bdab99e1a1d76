// The loop: load, forward, backward, reduce, clip, update, log, save.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/checkpoint/checkpoint.h"
#include "framework/data/ledger.h"
#include "framework/data/loader.h"
#include "framework/model/transformer.h"
#include "framework/optim/adamw.h"
#include "framework/optim/schedule.h"
#include "framework/train/checkpoint_tensors.h"
#include "framework/train/expert_training.h"
#include "framework/train/reducers.h"
#include "framework/train/stage_link.h"
#include "framework/train/stage_schedule.h"
#include "framework/train/step_sums.h"
#include "framework/train/topology.h"

namespace fern {

struct TrainConfig {
  int64_t steps = 0;
  double clip_norm = 1.0;        // 0: never
  int64_t reduction_shards = 1;  // S; divides the micro-batches of a step
  int64_t checkpoint_every = 0;  // steps; 0: only at the end and on request
  int64_t keep = 3;
  int64_t max_skipped = 10;  // non-finite steps in a row before the run stops
  ExpertLogging experts = {};
};

// One line of metrics.jsonl.
struct StepMetrics {
  int64_t step = 0;                                   // from 1: steps done
  double loss = 0, grad_norm = 0, learning_rate = 0;  // loss: cross-entropy alone
  int64_t tokens = 0, loss_tokens = 0;
  double step_s = 0;  // wall-clock of the step on this process, and its parts:
  double data_s = 0, forward_backward_s = 0, optimizer_s = 0;
  double reduce_s = 0;                // what of it does not go on during the backward pass
  double pipeline_s = 0;              // waiting for other stages, and sending to them
  double flops = 0;                   // of all processes: products with weights that exist, attention, scores
  int64_t sent_bytes = 0;             // by this process to others: gradients and values
  int64_t pipeline_sent_bytes = 0;    // by this process to other stages
  int64_t tensor_sent_bytes = 0;      // by this process to others that share its matrices
  int64_t context_sent_bytes = 0;     // by this process to others that share its sequences
  int64_t expert_sent_bytes = 0;      // by this process to others that share the experts
  bool skipped = false;               // non-finite: not applied
  std::vector<double> language_loss;  // mean nats per loss token; NaN for languages not in the batch
  double topology_s = 0;              // of changing patterns after the step
  std::optional<TopologyUpdate> topology = {};
  std::optional<SparsityMetrics> sparsity = {};  // of steps that Topology::watches()
  std::optional<RouterLosses> routers = {};      // what routers add to the loss; none without experts
  std::optional<ExpertMetrics> experts = {};     // every ExpertLogging::log_every steps
};

// What the trainer works on. Borrowed: all must outlive it.
struct TrainParts {
  Transformer& model;
  AdamW& optimizer;
  const Schedule& schedule;
  const Loader& loader;
  GradReducer& gradients;
  ScalarReducer& scalars;
  Ledger& ledger;
  Topology* topology = nullptr;             // null: patterns, if there are any, stay
  GradReducer* scored_gradients = nullptr;  // of topology->scored(); REQUIRED when that is not empty
  StageLink* link = nullptr;                // null: all layers are here
  CheckpointTensors* tensors = nullptr;     // null: all values and moments are here
  Parameters* whole = nullptr;              // layout of the whole model; null: the model's own
};

// Where and how a run saves. `manifest` carries model, recipe and tokenizer hash.
struct RunFolder {
  std::filesystem::path checkpoints;
  Manifest manifest;
  std::filesystem::path tokenizer_model;
};

// MethodSetup::budget of the run that saved this checkpoint; none where it does not say.
std::optional<std::vector<int64_t>> given_budget(const Manifest& manifest);

// A micro-batch, or this process's share of it, on its way through one part of the layers that are here.
struct Pass {
  std::unique_ptr<Transformer::Activations> activations;
  MicroBatch batch;
};
// Takes from `arena` (which may be measuring) what a stage needs for a step's `work`: of each part
// activations of as many micro-batches of `tokens` as are in flight, and a tied embedding's sum or copy.
std::vector<std::vector<Pass>> allocate_passes(Transformer& model, Arena& arena, int64_t tokens,
                                               const StageWork& work);

class Trainer {
 public:
  // Takes activations from `arena` (see allocate_passes()). Errors (kBadUsage): reduction_shards does not
  // divide the micro-batches of a step.
  Trainer(const TrainConfig& config, const TrainParts& parts, const RunFolder& run, Arena& arena);
  // Continues from a checkpoint: weights, moments, counters and ledger. Errors: it is of another model,
  // tokenizer or set of languages, naming what differs; see also load_checkpoint().
  void resume(const std::filesystem::path& checkpoint);
  int64_t step() const { return step_; }                   // done, applied or skipped
  int64_t skipped() const { return skipped_; }             // of them not applied
  std::vector<std::string> languages(int64_t step) const;  // in that step's batch, step from 0
  // Times the steps to come in `profile`, which is borrowed; null ends that.
  void set_profile(Profile* profile) { stream_.set_profile(profile); }
  // Says in `pulse`, which is borrowed, where the run is; null: says it to nobody.
  void set_pulse(Pulse* pulse) { stream_.set_pulse(pulse); }

  enum class Outcome { kDone, kStopped };
  // Runs to config.steps or until `stop_requested` is seen (agreed over processes after a step), saving as
  // configured; `on_step` hears of each step on every process, before it is saved. Errors: max_skipped
  // non-finite steps in a row, naming the step and the languages in its batch; a checkpoint that could not be
  // saved, on every process.
  Outcome run(const std::atomic<bool>& stop_requested,
              const std::function<void(const StepMetrics&)>& on_step);

 private:
  void train_step();
  void forward_backward();
  void begin_shard();
  void forward(int64_t micro, int64_t part);
  void backward(int64_t micro, int64_t part);
  // Fills `own` with this process's share of the step's micro-batch `slot`; returns the whole of it.
  const MicroBatch& load(MicroBatch& own, int64_t slot);
  // Of a micro-batch whose backward has come to the first of several stages: its part of a tied embedding's
  // gradient.
  void take_embedded(int64_t micro);
  void end_shard();
  // Which of a step's micro-batches this process's `micro`-th is. Where processes share sequences, each one's
  // part of a shard's gradient is a term of the sum by itself: the shards of the first of them come first,
  // and then the same shards of the next.
  int64_t slot_of(int64_t micro) const;
  int64_t micro_batches_a_shard() const { return parts_.loader.micro_batches() / config_.reduction_shards; }
  const Parameters& whole() const;
  void settle();
  void take_layout();
  int64_t slots_for_squares() const;
  void sum_squares();
  void update();
  void change_topology();
  void expect_not_too_many_skipped() const;
  double flops_of_step() const;
  int64_t sent_bytes() const;
  void restore_patterns(const std::filesystem::path& checkpoint, const Manifest& manifest);
  void save();
  void write_checkpoint(TensorSource& tensors, const Parameters& whole, TopologyMemory topology);

  // Of micro-batch m, in flight through a part from its forward pass to its backward pass: the m-th, in turn.
  Pass& pass_of(int64_t micro, int64_t part) {
    std::vector<Pass>& passes = passes_[static_cast<size_t>(part)];
    return passes[static_cast<size_t>(micro) % passes.size()];
  }

  TrainConfig config_;
  TrainParts parts_;
  RunFolder run_;
  SoloLink solo_link_;
  StageLink& link_;
  std::vector<StageAction> actions_;       // of every step
  std::vector<std::vector<Pass>> passes_;  // by part
  MicroBatch whole_;                       // that load() cuts
  MicroBatch embedded_;                    // that take_embedded() is at
  Stream stream_;
  StepSums sums_;
  std::vector<ChunkRun> chunks_;  // of the flat gradient, in the whole model's
  std::vector<double> squares_;   // of them
  std::optional<ExpertTraining> experts_;
  StepMetrics metrics_;
  bool scoring_ = false;  // the step under way scores rows of dense gradients
  int64_t step_ = 0, updates_ = 0, skipped_ = 0, skipped_in_a_row_ = 0;
};

}  // namespace fern
