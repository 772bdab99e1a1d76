#include "recipes/fields.h"

namespace fern {

namespace {

std::vector<Field> parallel_fields() {
  return {
      {.key = "parallel.data",
       .place = [](Recipe& r) -> Place { return &r.mesh.data; },
       .meaning = "Ranks that share a step's sequences; 0 takes all ranks there are. Divides "
                  "batch.reduction_shards. Never changes the result.",
       .unit = "ranks",
       .raising = "faster steps",
       .may_change = true},
      {.key = "parallel.tensor",
       .place = [](Recipe& r) -> Place { return &r.mesh.tensor; },
       .meaning =
           "Ranks that share each matrix: heads, the feed-forwards' inner size and the vocabulary, and the "
           "positions of the residual stream between them; parallel.data, parallel.pipeline and these "
           "multiply "
           "to all ranks. Divides model.kv_heads. The result is the same to rounding, not to the bit. Sparse "
           "weights keep the patterns of whole matrices; then not with sparsity.global or parallel.zero = 3, "
           "and no block or group may be cut.",
       .unit = "ranks",
       .raising = "less memory on each rank; four sums of all activations a layer between the ranks",
       .least = 1,
       .may_change = true},
      {.key = "parallel.pipeline",
       .place = [](Recipe& r) -> Place { return &r.mesh.pipeline; },
       .meaning =
           "Stages that share the layers, each on parallel.data x parallel.tensor ranks; layers are split so "
           "that stages have about equal FLOPs. The first keeps the activations of as many micro-batches as "
           "there are "
           "stages. At most model.layers. Never changes the result, sparse weights included.",
       .unit = "ranks",
       .raising = "less memory for weights on each rank; more waiting where a step has few micro-batches",
       .least = 1,
       .may_change = true},
      {.key = "parallel.virtual_stages",
       .place = [](Recipe& r) -> Place { return &r.mesh.virtual_stages; },
       .meaning =
           "Parts of the layers that each stage of parallel.pipeline holds, with other stages' between them: "
           "micro-batches go round all stages so many times (the interleaved schedule). So many times "
           "parallel.pipeline is at most model.layers; 1 without stages. Above 1 the micro-batches of a "
           "reduction shard (batch.sequences / batch.micro_sequences / batch.reduction_shards) are a "
           "multiple "
           "of parallel.pipeline. Never changes the result.",
       .unit = "parts",
       .raising = "less waiting, in proportion; as many times the traffic between stages, and activations of "
                  "more passes kept",
       .least = 1,
       .may_change = true},
      {.key = "parallel.expert",
       .place = [](Recipe& r) -> Place { return &r.mesh.expert; },
       .meaning =
           "Ranks, of those of parallel.data, that share the experts of a layer: each holds some of them, "
           "and the "
           "rows of tokens go to the ranks of their experts and back, exactly as many as there are. Divides "
           "parallel.data; at most model.experts.count, which it need not divide. The result is the same to "
           "rounding, not to the bit; for one number of ranks parallel.data, parallel.zero and "
           "parallel.pipeline change no bit. Not with sparsity.global.",
       .unit = "ranks",
       .raising =
           "less memory for experts on each rank, more room for the rows that may come; more traffic in each "
           "micro-batch, less for gradients",
       .least = 1,
       .may_change = true},
      {.key = "parallel.context",
       .place = [](Recipe& r) -> Place { return &r.mesh.context; },
       .meaning =
           "Ranks that share the positions of each sequence; keys and values go round a ring of them (ring "
           "attention). parallel.data and these multiply to all ranks. Twice as many divide "
           "model.context. The result is the same to rounding, not to the bit; for one number of ranks "
           "parallel.data, parallel.zero and parallel.pipeline change no bit. Not with "
           "model.experts.capacity_factor.",
       .unit = "ranks",
       .raising = "less memory for activations on each rank, so longer sequences",
       .least = 1,
       .may_change = true},
      {.key = "parallel.zero",
       .place = [](Recipe& r) -> Place { return &r.mesh.zero; },
       .meaning =
           "ZeRO stage: 0 keeps everything on every data rank; 1 shares the optimizer's state among them; 2 "
           "the gradients too, where a reduction shard is one micro-batch: with more, their sum stays whole "
           "until the shard's last; 3 the weights too, which each layer fetches before it computes.",
       .raising = "less memory on each rank, the same result to the bit; 2 sends gradients once a shard, not "
                  "once a step, and 3 weights twice a micro-batch",
       .most = 3,
       .may_change = true},
      {.key = "parallel.stall_seconds",
       .place = [](Recipe& r) -> Place { return &r.stall_s; },
       .meaning = "A rank that is stopped, dead, in another collective than the others, or in one operation "
                  "for so long is named by the others, which then end with exit code 4. Saving, logging and "
                  "what comes before the first step may take 60 times as long; 0 never ends a run.",
       .unit = "s",
       .raising = "slower operations are borne, stalls found later",
       .may_change = true},
  };
}

std::vector<Field> saving_fields() {
  return {
      {.key = "checkpoint.every",
       .place = [](Recipe& r) -> Place { return &r.train.checkpoint_every; },
       .meaning = "Steps between checkpoints; 0 saves only at the end and when asked to stop.",
       .unit = "steps",
       .raising = "less time spent saving, more work lost in a crash",
       .may_change = true},
      {.key = "checkpoint.keep",
       .place = [](Recipe& r) -> Place { return &r.train.keep; },
       .meaning = "Newest checkpoints that stay on disk; 0 keeps all.",
       .unit = "checkpoints",
       .raising = "more disk, more states to go back to",
       .may_change = true},
      {.key = "evaluate.split",
       .place = [](Recipe& r) -> Place { return &r.evaluate.split; },
       .meaning = "Which part of the data `fern evaluate` scores.",
       .names = {"valid", "test", "train"},
       .may_change = true},
      {.key = "evaluate.max_sequences",
       .place = [](Recipe& r) -> Place { return &r.evaluate.max_sequences; },
       .meaning = "Most packed sequences scored per language; 0 scores all.",
       .unit = "sequences",
       .raising = "steadier figures, a longer evaluation",
       .may_change = true},
  };
}

}  // namespace

std::vector<Field> run_fields() {
  std::vector<Field> all = parallel_fields();
  for (Field& field : saving_fields()) all.push_back(std::move(field));
  return all;
}

}  // namespace fern
