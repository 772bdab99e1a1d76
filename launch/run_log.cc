#include "launch/run_log.h"

#include <unistd.h>

#include "framework/core/files.h"

namespace fern {

RunLog::RunLog(std::filesystem::path folder, const std::vector<std::string>& languages, const Ledger& ledger,
               const TrainConfig& config, int64_t steps_done)
    : folder_(std::move(folder)),
      ledger_(ledger),
      config_(config),
      metrics_(folder_ / "metrics.jsonl", languages, steps_done),
      events_(folder_, languages, steps_done),
      progress_(stderr, isatty(STDERR_FILENO) == 1, config.steps) {}

void RunLog::add(const StepMetrics& metrics) {
  metrics_.write(metrics);
  events_.write(metrics);
  progress_.show(metrics);
  last_loss_ = metrics.loss;
  if (config_.checkpoint_every > 0 && metrics.step % config_.checkpoint_every == 0) finish();
}

void RunLog::finish() { write_text_durably(folder_ / "ledger.json", ledger_.to_json().dump(2) + "\n"); }

}  // namespace fern
