// The forward and backward passes of a step.
#include <algorithm>

#include "framework/core/profile.h"
#include "framework/data/context_share.h"
#include "framework/train/step_timer.h"
#include "framework/train/trainer.h"

namespace fern {

std::vector<std::vector<Pass>> allocate_passes(Transformer& model, Arena& arena, int64_t tokens,
                                               const StageWork& work) {
  if (work.micro_batches_a_shard > 1) model.allocate_embedding_sum(arena);
  model.allocate_embedding_copy(arena);
  std::vector<std::vector<Pass>> passes;
  const Transformer::Activations* first = nullptr;
  for (const int64_t in_flight : most_in_flight(pipeline_schedule(work), work.parts)) {
    const size_t part = passes.size();
    for (Pass& pass : passes.emplace_back(static_cast<size_t>(in_flight))) {
      pass.activations = model.allocate_activations(arena, tokens, first, part);
      if (first == nullptr) first = pass.activations.get();
    }
  }
  return passes;
}

int64_t Trainer::slot_of(int64_t micro) const {
  const int64_t a_shard = micro_batches_a_shard();
  return parts_.gradients.shard(micro / a_shard) % config_.reduction_shards * a_shard + micro % a_shard;
}

void Trainer::forward_backward() {
  using Kind = StageAction::Kind;
  {
    const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
    link_.begin_step(parts_.model, parts_.gradients.shards() * micro_batches_a_shard());
  }
  for (const auto& [kind, index, part] : actions_) {
    if (kind == Kind::kBeginShard) begin_shard();
    if (kind == Kind::kForward) forward(index, part);
    if (kind == Kind::kBackward) backward(index, part);
    if (kind == Kind::kEmbedded) take_embedded(index);
    if (kind == Kind::kEndShard) end_shard();
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

void Trainer::forward(int64_t micro, int64_t part) {
  Pass& pass = pass_of(micro, part);
  const int64_t slot = slot_of(micro), share = parts_.model.context_axis().index();
  const MicroBatch& whole = load(pass.batch, slot);
  const bool is_first = parts_.model.is_first(*pass.activations),
             is_last = parts_.model.is_last(*pass.activations);
  if (!is_first) {
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
      sums_.add_routers(slot, parts_.model.routing_record().losses, share);
      if (is_last) sums_.set_micro_batch(slot, loss, whole, share);
    }
  }
  if (is_last) return;
  const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
  link_.send_activations(parts_.model.output_of(*pass.activations));
}

void Trainer::backward(int64_t micro, int64_t part) {
  Pass& pass = pass_of(micro, part);
  const Tensor dx_TD = parts_.model.gradient_of(*pass.activations);
  if (!parts_.model.is_last(*pass.activations)) {
    const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
    link_.receive_gradient(dx_TD);
  }
  // Each part's gradient is complete when the shard's last micro-batch has gone back through it.
  const bool completes = (micro + 1) % micro_batches_a_shard() == 0;
  if (completes && part + 1 == std::ssize(passes_)) parts_.gradients.begin_last_micro_batch();
  {
    const Timer<SpanTimer> timer(metrics_.forward_backward_s, stream_, "backward");
    NoSink nobody;
    GradSink& sink = completes ? static_cast<GradSink&>(parts_.gradients) : nobody;
    parts_.model.backward(*pass.activations, pass.batch, sink, stream_);
  }
  const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
  if (parts_.model.is_first(*pass.activations))
    link_.send_embedded(dx_TD);
  else
    link_.send_gradient(dx_TD);
}

void Trainer::take_embedded(int64_t micro) {
  const Transformer::Activations& activations = *passes_.front().front().activations;
  {
    const Timer<OpTimer> timer(metrics_.pipeline_s, stream_, "pipeline");
    if (!link_.receive_embedded(parts_.model.gradient_of(activations))) return;
  }
  load(embedded_, slot_of(micro));
  parts_.model.add_embedded(activations, embedded_, stream_);
}

void Trainer::end_shard() {
  const Timer<OpTimer> timer(metrics_.reduce_s, stream_, "reduce");
  parts_.model.end_shard();
  parts_.gradients.end_shard();
  if (scoring_) parts_.scored_gradients->end_shard();
}

}  // namespace fern
