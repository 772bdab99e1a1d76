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
#include "framework/train/expert_training.h"
#include "framework/train/reducers.h"
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
  double flops = 0;                   // of all processes: products with weights that exist, attention, scores
  int64_t sent_bytes = 0;             // by this process to others: gradients and values
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
};

// Where and how a run saves. `manifest` carries model, recipe and tokenizer hash.
struct RunFolder {
  std::filesystem::path checkpoints;
  Manifest manifest;
  std::filesystem::path tokenizer_model;
};

// MethodSetup::budget of the run that saved this checkpoint; none where it does not say.
std::optional<std::vector<int64_t>> given_budget(const Manifest& manifest);

class Trainer {
 public:
  // Takes activations of one micro-batch from `arena` (which may be measuring). Errors (kBadUsage):
  // reduction_shards does not divide the micro-batches of a step.
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
  void update();
  void change_topology();
  void expect_not_too_many_skipped() const;
  double flops_of_step() const;
  int64_t sent_bytes() const;
  void restore_patterns(const std::filesystem::path& checkpoint, const Manifest& manifest);
  void save();
  void write_checkpoint(std::span<const float> first_moment, std::span<const float> second_moment);
  bool holds_everything() const;

  TrainConfig config_;
  TrainParts parts_;
  RunFolder run_;
  std::unique_ptr<Transformer::Activations> activations_;
  Stream stream_;
  MicroBatch batch_;
  StepSums sums_;
  std::optional<ExpertTraining> experts_;
  StepMetrics metrics_;
  bool scoring_ = false;  // the step under way scores rows of dense gradients
  int64_t step_ = 0, updates_ = 0, skipped_ = 0, skipped_in_a_row_ = 0;
};

}  // namespace fern
