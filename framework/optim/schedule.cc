#include "framework/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "framework/core/error.h"

namespace fern {

namespace {

// How far the decay has come, 0 at `first` to 1 at `last`.
double progress(int64_t step, int64_t first, int64_t last) {
  if (step <= first) return 0;
  if (step >= last) return 1;
  return static_cast<double>(step - first) / static_cast<double>(last - first);
}

// The part of peak that is left of a decay which has come this far.
double remaining(const Schedule& schedule, int64_t step) {
  const int64_t peak_step = std::max<int64_t>(schedule.warmup_steps - 1, 0);
  const int64_t last_step = schedule.steps - 1;
  switch (schedule.kind) {
    case ScheduleKind::kConstant:
      return 1;
    case ScheduleKind::kCosine:
      return 0.5 * (1 + std::cos(std::numbers::pi * progress(step, peak_step, last_step)));
    case ScheduleKind::kLinear:
      return 1 - progress(step, peak_step, last_step);
    case ScheduleKind::kWarmupStableDecay:
      return 1 - progress(step, last_step - schedule.decay_steps, last_step);
  }
  return 1;
}

}  // namespace

double Schedule::at(int64_t step) const {
  if (step < warmup_steps) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  return peak * (final_fraction + (1 - final_fraction) * remaining(*this, step));
}

void validate(const Schedule& schedule) {
  if (!(std::isfinite(schedule.peak) && schedule.peak > 0))
    fail_usage("schedule: expected a peak learning rate above 0, got {}; 3e-4 suits most models",
               schedule.peak);
  if (!(schedule.final_fraction >= 0 && schedule.final_fraction <= 1))
    fail_usage("schedule: expected a final fraction of the peak from 0 to 1, got {}",
               schedule.final_fraction);
  if (schedule.steps < 1) fail_usage("schedule: expected at least 1 step, got {}", schedule.steps);
  if (schedule.warmup_steps < 0 || schedule.warmup_steps > schedule.steps)
    fail_usage("schedule: expected 0 to {} warm-up steps (the run has {}), got {}", schedule.steps,
               schedule.steps, schedule.warmup_steps);
  if (schedule.kind != ScheduleKind::kWarmupStableDecay) return;
  const int64_t most = schedule.steps - schedule.warmup_steps;
  if (schedule.decay_steps < 1 || schedule.decay_steps > most)
    fail_usage(
        "schedule: warm-up-stable-decay expected 1 to {} decay steps ({} steps less {} of warm-up), got {}",
        most, schedule.steps, schedule.warmup_steps, schedule.decay_steps);
}

}  // namespace fern
