// What a run writes beside its checkpoints, on rank 0: metrics.jsonl, TensorBoard events, ledger.json, and
// how far it is on standard error.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "framework/data/ledger.h"
#include "framework/train/metrics_log.h"
#include "framework/train/progress.h"
#include "framework/train/tensorboard.h"

namespace fern {

class RunLog {
 public:
  // `ledger` is borrowed; it is written after each step that `checkpoint_every` divides, and by finish().
  RunLog(std::filesystem::path folder, const std::vector<std::string>& languages, const Ledger& ledger,
         const TrainConfig& config, int64_t steps_done);
  void add(const StepMetrics& metrics);
  void finish();
  double last_loss() const { return last_loss_; }

 private:
  // Names languages whose routing has collapsed or recovered since the last time.
  void say_who_collapsed(const StepMetrics& metrics);

  std::filesystem::path folder_;
  std::vector<std::string> languages_;
  std::set<std::pair<int64_t, size_t>> collapsed_;  // layers and languages
  const Ledger& ledger_;
  TrainConfig config_;
  MetricsLog metrics_;
  EventFile events_;
  Progress progress_;
  double last_loss_ = 0;
};

}  // namespace fern
