#include "launch/run_log.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include "framework/core/files.h"

namespace fern {

RunLog::RunLog(std::filesystem::path folder, const std::vector<std::string>& languages, const Ledger& ledger,
               const TrainConfig& config, int64_t steps_done)
    : folder_(std::move(folder)),
      languages_(languages),
      ledger_(ledger),
      config_(config),
      metrics_(folder_ / "metrics.jsonl", languages, steps_done),
      events_(folder_, languages, steps_done),
      progress_(stderr, isatty(STDERR_FILENO) == 1, config.steps) {}

void RunLog::add(const StepMetrics& metrics) {
  metrics_.write(metrics);
  events_.write(metrics);
  progress_.show(metrics);
  if (metrics.experts) say_who_collapsed(metrics);
  last_loss_ = metrics.loss;
  if (config_.checkpoint_every > 0 && metrics.step % config_.checkpoint_every == 0) finish();
}

void RunLog::say_who_collapsed(const StepMetrics& metrics) {
  for (const LayerUse& layer : metrics.experts->layers)
    for (size_t l = 0; l < languages_.size(); ++l) {
      const ExpertUse& use = layer.languages[l];
      const std::pair place(layer.layer, l);
      if (use.collapsed && collapsed_.insert(place).second)
        spdlog::warn(
            "step {}: the routing of {} has collapsed in layer {}: its tokens use {:.1f} experts, those of "
            "all "
            "languages {:.1f}{}",
            metrics.step, languages_[l], layer.layer, use.effective, layer.all.effective,
            config_.experts.correct_collapse ? "; its bias is being corrected"
                                             : "; model.experts.correct_collapse = true would correct it, a "
                                               "larger balance_loss prevent it");
      else if (!use.collapsed && collapsed_.erase(place) > 0)
        spdlog::info("step {}: the routing of {} has recovered in layer {}: its tokens use {:.1f} experts",
                     metrics.step, languages_[l], layer.layer, use.effective);
    }
}

void RunLog::finish() { write_text_durably(folder_ / "ledger.json", ledger_.to_json().dump(2) + "\n"); }

}  // namespace fern
