// Learning rate as a pure function of the step.
#pragma once

#include <cstdint>

namespace fern {

enum class ScheduleKind { kConstant, kCosine, kLinear, kWarmupStableDecay };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  double peak = 3e-4;
  double final_fraction = 0.1;  // of peak, at the last step
  int64_t warmup_steps = 0;     // linear from peak / warmup_steps at step 0 to peak at step warmup_steps - 1
  int64_t decay_steps = 0;      // warm-up-stable-decay: length of the last, linear part
  int64_t steps = 0;            // of the whole run

  // REQUIRES 0 <= step. After `steps` it stays at the final rate.
  double at(int64_t step) const;
};

// Errors (kBadUsage): negative or contradictory lengths, rates that are not positive and finite.
void validate(const Schedule& schedule);

}  // namespace fern
