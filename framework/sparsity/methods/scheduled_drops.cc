#include "framework/sparsity/methods/scheduled_drops.h"

#include <cmath>
#include <numbers>

namespace fern {

bool ScheduledDrops::updates_after(int64_t step) const {
  return step > 0 && step % config().interval == 0 && step < setup().train_steps &&
         static_cast<double>(step) <= config().stop * static_cast<double>(setup().train_steps);
}

double ScheduledDrops::drop_share(int64_t step) const {
  const double way = static_cast<double>(step) / (config().stop * static_cast<double>(setup().train_steps));
  switch (config().drop_decay) {
    case DropDecay::kCosine:
      return config().drop_fraction * 0.5 * (1 + std::cos(std::numbers::pi * way));
    case DropDecay::kLinear:
      return config().drop_fraction * (1 - way);
    case DropDecay::kConstant:
      break;
  }
  return config().drop_fraction;
}

}  // namespace fern
