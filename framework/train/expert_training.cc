#include "framework/train/expert_training.h"

#include <algorithm>

#include "framework/core/error.h"
#include "framework/train/expert_balance.h"

namespace fern {

ExpertTraining::ExpertTraining(Transformer& model, const ExpertLogging& logging, int64_t languages)
    : model_(model),
      logging_(logging),
      interval_(model.config().expert_layers(), model.config().experts.count, languages),
      watch_(model.config().experts, model.config().expert_layers(), languages) {
  record().counts = interval_;
  if (logging.correct_collapse) model.routing().set_languages(languages);
}

std::optional<ExpertMetrics> ExpertTraining::end_step(int64_t step, bool applied) {
  const RoutingCounts& counts = record().counts;
  if (applied) {
    interval_.add(counts);
    ++steps_;
    balance_experts(model_.routing(), counts, model_.config().experts.bias_rate);
    if (logging_.correct_collapse) watch_.correct(model_.routing(), counts);
  }
  if (step % logging_.log_every != 0 || steps_ == 0) return std::nullopt;
  ExpertMetrics metrics = expert_metrics(interval_, model_.config(), steps_);
  watch_.add(metrics);
  interval_.clear();
  steps_ = 0;
  return metrics;
}

ExpertMemory ExpertTraining::memory() const {
  ExpertMemory memory = model_.routing().memory();
  const auto counts = interval_.all();
  memory.counts.assign(counts.begin(), counts.end());
  memory.counts.push_back(static_cast<double>(steps_));
  memory.streaks = watch_.streaks();
  return memory;
}

void ExpertTraining::restore(const ExpertMemory& memory) {
  const size_t counts = interval_.all().size();
  expect(memory.counts.size() == counts + 1,
         "[experts] expected {} counts of what languages were routed to, got {}: the checkpoint is of other "
         "experts or languages",
         counts + 1, memory.counts.size());
  model_.routing().restore(memory);
  std::copy_n(memory.counts.begin(), counts, interval_.all().begin());
  steps_ = static_cast<int64_t>(memory.counts.back());
  watch_.restore(memory.streaks);
}

}  // namespace fern
