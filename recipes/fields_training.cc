#include "recipes/fields.h"

namespace fern {

namespace {

std::vector<Field> batch_fields() {
  return {
      {.key = "batch.sequences",
       .place = [](Recipe& r) -> Place { return &r.batch.sequences; },
       .meaning = "Packed sequences of one step, over all ranks together.",
       .unit = "sequences",
       .raising = "steadier gradients; a step takes longer in proportion",
       .least = 1,
       .most = 1 << 20},
      {.key = "batch.micro_sequences",
       .place = [](Recipe& r) -> Place { return &r.batch.micro_sequences; },
       .meaning = "Packed sequences that go through the model at once. Divides batch.sequences.",
       .unit = "sequences",
       .raising = "larger, faster matrix products; the memory of activations grows in proportion",
       .least = 1,
       .most = 1 << 20},
      {.key = "batch.reduction_shards",
       .place = [](Recipe& r) -> Place { return &r.batch.reduction_shards; },
       .meaning =
           "Parts that a step's gradient is summed in, in a fixed order: any number of ranks that divides "
           "it gives the same weights to the bit. Divides sequences / micro_sequences.",
       .raising = "more ranks can share a step; a little more adding",
       .least = 1,
       .most = 1 << 20},
      {.key = "batch.normalization",
       .place = [](Recipe& r) -> Place { return choice(r.batch.normalization); },
       .meaning = "What the loss is a mean over: token (every loss token counts alike) or sequence (every "
                  "document counts alike, however short).",
       .names = {"token", "sequence"}},
  };
}

std::vector<Field> schedule_fields() {
  return {
      {.key = "optimizer.learning_rate",
       .place = [](Recipe& r) -> Place { return &r.schedule.peak; },
       .meaning = "Peak of the learning rate.",
       .raising = "faster learning, until it becomes unsteady",
       .least = 1e-12,
       .most = 10},
      {.key = "optimizer.schedule",
       .place = [](Recipe& r) -> Place { return choice(r.schedule.kind); },
       .meaning =
           "Course of the learning rate after the warm-up: constant; cosine or linear down to the last "
           "step; warmup_stable_decay stays at the peak and falls over the last decay_steps.",
       .names = {"constant", "cosine", "linear", "warmup_stable_decay"}},
      {.key = "optimizer.warmup_steps",
       .place = [](Recipe& r) -> Place { return &r.schedule.warmup_steps; },
       .meaning = "Steps over which the rate rises to its peak.",
       .unit = "steps",
       .raising = "a gentler start, less time at the peak"},
      {.key = "optimizer.decay_steps",
       .place = [](Recipe& r) -> Place { return &r.schedule.decay_steps; },
       .meaning = "Length of the last part of warmup_stable_decay.",
       .unit = "steps",
       .raising = "the rate starts to fall earlier"},
      {.key = "optimizer.final_fraction",
       .place = [](Recipe& r) -> Place { return &r.schedule.final_fraction; },
       .meaning = "Rate at the last step, as a fraction of the peak.",
       .raising = "more is still learnt at the end, which settles less",
       .most = 1},
  };
}

std::vector<Field> adamw_fields() {
  return {
      {.key = "optimizer.beta1",
       .place = [](Recipe& r) -> Place { return &r.optimizer.beta1; },
       .meaning = "Decay of AdamW's mean of gradients.",
       .raising = "smoother, slower to turn",
       .most = 0.9999999},
      {.key = "optimizer.beta2",
       .place = [](Recipe& r) -> Place { return &r.optimizer.beta2; },
       .meaning = "Decay of AdamW's mean of squared gradients.",
       .raising = "steadier step sizes, slower to notice a change",
       .most = 0.9999999},
      {.key = "optimizer.epsilon",
       .place = [](Recipe& r) -> Place { return &r.optimizer.epsilon; },
       .meaning = "Added to the root of the mean square in AdamW's division.",
       .raising = "smaller steps where gradients are tiny",
       .least = 1e-20,
       .most = 1},
      {.key = "optimizer.weight_decay",
       .place = [](Recipe& r) -> Place { return &r.optimizer.weight_decay; },
       .meaning = "Decoupled decay of matrices per step, times the learning rate.",
       .raising = "smaller weights, less overfitting on small languages",
       .most = 10},
      {.key = "optimizer.decay_norms",
       .place = [](Recipe& r) -> Place { return &r.optimizer.decay_norms; },
       .meaning = "Decay the weights of norms too."},
      {.key = "optimizer.decay_embeddings",
       .place = [](Recipe& r) -> Place { return &r.optimizer.decay_embeddings; },
       .meaning = "Decay the embedding and an untied head too."},
      {.key = "optimizer.clip_norm",
       .place = [](Recipe& r) -> Place { return &r.train.clip_norm; },
       .meaning =
           "Longest gradient (global norm) that is applied as it is; longer ones are scaled down to it; "
           "0 never does.",
       .raising = "rare large gradients move the weights further"},
  };
}

std::vector<Field> train_fields() {
  return {
      {.key = "train.steps",
       .place = [](Recipe& r) -> Place { return &r.train.steps; },
       .meaning = "Optimizer steps of the whole run.",
       .unit = "steps",
       .raising = "a better model after more time",
       .least = 1,
       .required = true,
       .may_change = true},
      {.key = "train.seed",
       .place = [](Recipe& r) -> Place { return &r.seed; },
       .meaning = "Start of every random number: initial weights, order of the data. Equal seeds give equal "
                  "runs."},
      {.key = "train.device",
       .place = [](Recipe& r) -> Place { return choice(r.device); },
       .meaning = "Where the model computes.",
       .names = {"cpu"},
       .later = {"cuda"}},
      {.key = "train.threads",
       .place = [](Recipe& r) -> Place { return &r.threads; },
       .meaning =
           "Threads of each rank; 0 takes OMP_NUM_THREADS, or shares the machine's cores among its ranks.",
       .unit = "threads",
       .raising = "faster, up to the cores there are",
       .most = 4096,
       .may_change = true},
      {.key = "train.max_skipped",
       .place = [](Recipe& r) -> Place { return &r.train.max_skipped; },
       .meaning =
           "Steps in a row with a loss or gradient that is not finite (they are not applied) before the "
           "run gives up.",
       .unit = "steps",
       .raising = "more patience",
       .least = 1,
       .may_change = true},
  };
}

}  // namespace

std::vector<Field> training_fields() {
  std::vector<Field> all = batch_fields();
  for (Field& field : schedule_fields()) all.push_back(std::move(field));
  for (Field& field : adamw_fields()) all.push_back(std::move(field));
  for (Field& field : train_fields()) all.push_back(std::move(field));
  return all;
}

}  // namespace fern
