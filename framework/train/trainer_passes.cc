// The forward and backward passes of a step.
#include <algorithm>

#include "framework/core/profile.h"
#include "framework/data/context_share.h"
#include "framework/train/step_timer.h"
#include "framework/train/trainer.h"

namespace fern {

std::vector<Pass> allocate_passes(Transformer& model, Arena& arena, int64_t tokens, int64_t stage,
                                  int64_t stages, int64_t micro_batches, int64_t micro_batches_a_shard) {
  if (micro_batches_a_shard > 1) model.allocate_embedding_sum(arena);
  model.allocate_embedding_copy(arena);
  std::vector<Pass> passes(static_cast<size_t>(most_in_flight(stage, stages, micro_batches)));
  for (Pass& pass : passes)
    pass.activations = model.allocate_activations(arena, tokens, passes.front().activations.get());
  return passes;
}

int64_t Trainer::slot_of(int64_t micro) const {
  const int64_t a_shard = micro_batches_a_shard();
  return parts_.gradients.shard(micro / a_shard) % config_.reduction_shards * a_shard + micro % a_shard;
}

void Trainer::forward_backward() {
  using Kind = StageAction::Kind;
  embedded_ = 0;
  {
    const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
    link_.begin_step(parts_.model, parts_.gradients.shards() * micro_batches_a_shard());
  }
  for (const auto& [kind, index] : actions_) {
    if (kind == Kind::kBeginShard) begin_shard();
    if (kind == Kind::kForward) forward(index);
    if (kind == Kind::kBackward) backward(index);
    if (kind == Kind::kEndShard) end_shard(index);
  }
  const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
  link_.end_step();
}

void Trainer::begin_shard() {
  const Timer<OpTimer> timer(metrics_.reduce_s, stream_, "reduce");
  parts_.gradients.begin_shard();
  if (scoring_) parts_.scored_gradients->begin_shard();
}

const MicroBatch& Trainer::load(MicroBatch& own, int64_t slot) {
  const Timer<OpTimer> timer(metrics_.data_s, stream_, "data");
  stream_.enter(Activity::kData);
  const ContextAxis& context = parts_.model.context_axis();
  MicroBatch& whole = context.size() == 1 ? own : whole_;
  parts_.loader.load(whole, step_, slot);
  if (context.size() > 1)
    cut(own, whole, {.ranks = context.size(), .rank = context.index(), .context = whole.context});
  return whole;
}

void Trainer::forward(int64_t micro) {
  Pass& pass = pass_of(micro);
  const int64_t slot = slot_of(micro), share = parts_.model.context_axis().index();
  const MicroBatch& whole = load(pass.batch, slot);
  {
    const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
    link_.receive_activations(parts_.model.input_of(*pass.activations));
  }
  {
    const Timer<SpanTimer> timer(metrics_.forward_backward_s, stream_, "forward");
    const std::span<double> sequence_losses = sums_.sequence_losses(slot, share);
    const double loss = parts_.model.forward(*pass.activations, sequence_losses, pass.batch, stream_);
    // All that share the matrices of a part have the same losses: one tells them.
    if (parts_.model.axis().index() > 0) {
      std::ranges::fill(sequence_losses, 0.0);
    } else {
      sums_.set_routers(slot, parts_.model.routing_record().losses, share);
      if (parts_.model.is_last()) sums_.set_micro_batch(slot, loss, whole, share);
    }
  }
  const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
  link_.send_activations(parts_.model.output_of(*pass.activations));
}

void Trainer::backward(int64_t micro) {
  Pass& pass = pass_of(micro);
  const Tensor dx_TD = parts_.model.gradient_of(*pass.activations);
  {
    const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
    link_.receive_gradient(dx_TD);
  }
  if ((micro + 1) % micro_batches_a_shard() == 0) parts_.gradients.begin_last_micro_batch();
  {
    const Timer<SpanTimer> timer(metrics_.forward_backward_s, stream_, "backward");
    parts_.model.backward(*pass.activations, pass.batch, parts_.gradients, stream_);
  }
  {
    const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
    link_.send_gradient(dx_TD);
  }
  // Of the same shard, those that have come by now; the first stage waits for more to be taken.
  const int64_t shard_begin = micro / micro_batches_a_shard() * micro_batches_a_shard();
  if (micro - link_.stages() >= shard_begin) take_embedded(micro - link_.stages() + 1);
}

void Trainer::end_shard(int64_t shard) {
  take_embedded((shard + 1) * micro_batches_a_shard());
  const Timer<OpTimer> timer(metrics_.reduce_s, stream_, "reduce");
  parts_.model.end_shard();
  parts_.gradients.end_shard();
  if (scoring_) parts_.scored_gradients->end_shard();
}

void Trainer::take_embedded(int64_t end) {
  Pass& pass = passes_.front();
  const Tensor dx_TD = parts_.model.gradient_of(*pass.activations);
  for (; embedded_ < end; ++embedded_) {
    {
      const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
      if (!link_.receive_embedded(dx_TD)) return;
    }
    load(pass.batch, slot_of(embedded_));
    parts_.model.add_embedded(*pass.activations, pass.batch, stream_);
  }
}

}  // namespace fern
