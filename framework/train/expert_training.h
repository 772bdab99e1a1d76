// The part of a training step that is about experts: counts what was routed where, balances, finds collapsed
// languages.
#pragma once

#include <cstdint>
#include <optional>

#include "framework/checkpoint/checkpoint.h"
#include "framework/model/transformer.h"
#include "framework/train/collapse.h"
#include "framework/train/expert_metrics.h"
#include "framework/train/reducers.h"

namespace fern {

struct ExpertLogging {
  int64_t log_every = 20;         // steps whose routing is told together
  bool correct_collapse = false;  // move biases of languages whose routing has collapsed (collapse.h)
};

class ExpertTraining {
 public:
  // Borrows the model. REQUIRES: it has experts.
  ExpertTraining(Transformer& model, const ExpertLogging& logging, int64_t languages);

  void begin_step() { record().counts.clear(); }
  // Makes the step's counts those of all processes, without those of processes that do not `count`: others
  // have seen the same tokens. All of them call it.
  void exchange(ScalarReducer& scalars, bool count) {
    if (!count) record().counts.clear();
    scalars.sum(record().counts.all());
  }
  // After exchange(), and after the optimizer's update of step `step` (from 1), if it was `applied`: a step
  // that was not leaves shares, biases and what is told of them alone. Returns what is told after this step.
  std::optional<ExpertMetrics> end_step(int64_t step, bool applied);

  // For checkpoints. Errors of restore(): of a model with other experts, or of other languages.
  ExpertMemory memory() const;
  void restore(const ExpertMemory& memory);

 private:
  RoutingRecord& record() { return model_.routing_record(); }

  Transformer& model_;
  ExpertLogging logging_;
  RoutingCounts interval_;  // of the steps since the last that was told
  int64_t steps_ = 0;
  CollapseWatch watch_;
};

}  // namespace fern
