// metrics.jsonl: one JSON object a step, in order, one line each.
//
//   {"step", "loss", "tokens", "loss_tokens", "tokens_per_s", "grad_norm", "lr", "skipped",
//    "flops", "sent_bytes", "pipeline_sent_bytes", "language_loss": {"am": ..., ...}, "step_s", "data_s",
//    "forward_backward_s", "reduce_s", "pipeline_s", "optimizer_s"}
//
// After steps that Topology::watches(), "sparsity": {"density", "churn", "ever_active", "gradient_flow",
// "weights": {NAME: {"density", "active_rows", "active_columns", "churn", "ever_active", "gradient_norm"}}};
// after a topology update "topology"; and where it is known, some steps later, "loss_change": {"update",
// "language_loss"}.
//
// Of a model with experts "balance_loss" and "z_loss", which training adds to "loss"; and every log_every
// steps "experts": {"steps": so many, "layers": {LAYER: {"tokens", "chosen": [by expert], "entropy",
// "dropped", "effective", "max_over_mean", "languages": {"am": {the same}, ...}, "collapsed": ["am", ...]}}}
// (expert_metrics.h, collapse.h).
//
// A number that is not finite is null; a language without loss tokens in the batch is left out. Keys that end
// in _s depend on the clock, those in sent_bytes on the ranks, all others only on the recipe and the data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "framework/train/loss_change.h"
#include "framework/train/trainer.h"

namespace fern {

class MetricsLog {
 public:
  // Opens or makes the file; lines after step `steps_done`, and a last line that a crash cut short, are cut
  // off. `languages` in the order of StepMetrics::language_loss. Errors: not readable or writable.
  MetricsLog(std::filesystem::path path, std::vector<std::string> languages, int64_t steps_done);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  // Appends one line in one write: a crash of this process loses none that was written. Errors: disk full.
  void write(const StepMetrics& metrics);

 private:
  int64_t keep_lines(int64_t steps_done);

  std::filesystem::path path_;
  std::vector<std::string> languages_;
  LossChange loss_change_;
  int file_ = -1;
};

double tokens_per_s(const StepMetrics& metrics);

}  // namespace fern
