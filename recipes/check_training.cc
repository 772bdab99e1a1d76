#include <fmt/ranges.h>

#include "framework/core/divisors.h"
#include "framework/core/error.h"
#include "recipes/checks.h"

namespace fern {

void check_batch(const Recipe& recipe) {
  const BatchConfig& b = recipe.batch;
  if (b.sequences % b.micro_sequences != 0)
    fail_usage("{}: batch.micro_sequences = {} does not divide batch.sequences = {}; one of {} would",
               recipe.where("batch.micro_sequences"), b.micro_sequences, b.sequences,
               fmt::join(divisors(b.sequences), ", "));
  const int64_t micro_batches = b.sequences / b.micro_sequences;
  if (micro_batches % b.reduction_shards != 0)
    fail_usage(
        "{}: batch.reduction_shards = {} does not divide the {} micro-batches of a step "
        "(batch.sequences / batch.micro_sequences); one of {} would",
        recipe.where("batch.reduction_shards"), b.reduction_shards, micro_batches,
        fmt::join(divisors(micro_batches), ", "));
  if (recipe.mesh.data > 0 && b.reduction_shards % recipe.mesh.data != 0)
    fail_usage(
        "{}: parallel.data = {} does not divide batch.reduction_shards = {}; one of {} would, or 0 "
        "for all ranks",
        recipe.where("parallel.data"), recipe.mesh.data, b.reduction_shards,
        fmt::join(divisors(b.reduction_shards), ", "));
}

void check_schedule(const Recipe& recipe) {
  const Schedule& s = recipe.schedule;
  if (s.warmup_steps > s.steps)
    fail_usage("{}: optimizer.warmup_steps = {} is longer than train.steps = {}; expected at most {}",
               recipe.where("optimizer.warmup_steps"), s.warmup_steps, s.steps, s.steps);
  const bool has_decay = s.kind == ScheduleKind::kWarmupStableDecay;
  if (has_decay && (s.decay_steps < 1 || s.decay_steps > s.steps - s.warmup_steps))
    fail_usage(
        "{}: optimizer.decay_steps: warmup_stable_decay expects 1 to {} (train.steps - "
        "optimizer.warmup_steps), got {}",
        recipe.where("optimizer.decay_steps"), s.steps - s.warmup_steps, s.decay_steps);
  if (!has_decay && s.decay_steps != 0)
    fail_usage(
        "{}: optimizer.decay_steps is only for optimizer.schedule = \"warmup_stable_decay\"; leave it "
        "out, or choose that schedule",
        recipe.where("optimizer.decay_steps"));
}

}  // namespace fern
