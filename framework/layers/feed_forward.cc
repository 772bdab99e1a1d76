#include "framework/layers/feed_forward.h"

#include <fmt/format.h>

namespace fern {

namespace {

std::string name_in(int64_t layer, std::string_view rest) {
  return fmt::format("model.layers.{}.{}", layer, rest);
}

std::variant<Mlp, Moe> make_branch(Parameters& parameters, TensorAxis& axis, TokenDispatcher& dispatcher,
                                   const ModelConfig& config, int64_t layer, const RoutingState& routing) {
  if (config.has_experts(layer)) return Moe(parameters, axis, dispatcher, config, layer, routing);
  return Mlp(parameters, axis, config, name_in(layer, "mlp"), config.ffn);
}

}  // namespace

FeedForwardBlock::Saved FeedForwardBlock::Saved::first(int64_t tokens) const {
  Saved cut = {
      .x_TD = x_TD.rows(0, tokens), .rstd_T = rstd_T.rows(0, tokens), .gate_up_T2F = {}, .experts = {}};
  if (!gate_up_T2F.empty()) cut.gate_up_T2F = gate_up_T2F.rows(0, tokens);
  if (!experts.gate_up_Q2F.empty()) cut.experts = experts.first(tokens);
  return cut;
}

FeedForwardBlock::FeedForwardBlock(Parameters& parameters, TensorAxis& axis, TokenDispatcher& dispatcher,
                                   const ModelConfig& config, int64_t layer, const RoutingState& routing)
    : config_(config),
      axis_(axis),
      norm_(parameters, axis, name_in(layer, "post_attention_layernorm.weight"), config.hidden,
            config.norm_epsilon),
      branch_(make_branch(parameters, axis, dispatcher, config, layer, routing)) {}

void FeedForwardBlock::add_experts() {
  if (Moe* moe = std::get_if<Moe>(&branch_)) moe->add_experts();
}

FeedForwardBlock::Saved FeedForwardBlock::allocate(Arena& arena, int64_t tokens) const {
  Saved saved;
  const int64_t own_tokens = axis_.own(tokens).elements();
  saved.x_TD = arena.allocate(config_.dtype, {own_tokens, config_.hidden});
  saved.rstd_T = arena.allocate(wide_of(config_.dtype), {own_tokens});
  allocate_missing(saved, arena, tokens);
  return saved;
}

void FeedForwardBlock::allocate_missing(Saved& saved, Arena& arena, int64_t tokens) const {
  const auto is_missing = [](const Tensor& tensor) { return tensor.shape().rank() == 0; };
  const Moe* moe = std::get_if<Moe>(&branch_);
  if (moe != nullptr && is_missing(saved.experts.gate_up_Q2F))
    saved.experts = moe->allocate(arena, tokens);
  else if (moe == nullptr && is_missing(saved.gate_up_T2F))
    saved.gate_up_T2F = arena.allocate(config_.dtype, {tokens, 2 * axis_.own(config_.ffn).elements()});
}

void FeedForwardBlock::reserve_packed(PackingRooms& rooms, const WeightUse& use) {
  if (Moe* moe = std::get_if<Moe>(&branch_))
    moe->reserve_packed(rooms, use);
  else
    std::get<Mlp>(branch_).reserve_packed(rooms, use);
}

void FeedForwardBlock::forward(Tensor y_TD, const Saved& saved, const BlockScratch& scratch,
                               const Tensor& residual_TD, const RoutedPositions& positions,
                               Stream& stream) const {
  recompute(saved, scratch, residual_TD, positions, stream);
  const Tensor sum_TD = axis_.room_of_sum(y_TD, scratch.n_TD);
  if (const Moe* moe = std::get_if<Moe>(&branch_))
    moe->finish(sum_TD, saved.experts, scratch, stream);
  else
    std::get<Mlp>(branch_).finish(sum_TD, scratch.h_TF, saved.gate_up_T2F, stream);
  axis_.reduce_scatter(y_TD, sum_TD, stream);
}

void FeedForwardBlock::recompute(const Saved& saved, const BlockScratch& scratch, const Tensor& residual_TD,
                                 const RoutedPositions& positions, Stream& stream) const {
  norm_.forward(axis_.own_rows(scratch.n_TD), saved.x_TD, saved.rstd_T, residual_TD, stream);
  axis_.all_gather(scratch.n_TD, stream);
  if (const Moe* moe = std::get_if<Moe>(&branch_))
    moe->project(saved.experts, scratch, scratch.n_TD, positions, stream);
  else
    std::get<Mlp>(branch_).project(saved.gate_up_T2F, scratch.n_TD, stream);
}

void FeedForwardBlock::backward(Tensor dx_TD, const Saved& saved, const BlockScratch& scratch,
                                const RoutedPositions& positions, GradSink& sink, Stream& stream) const {
  const Tensor dy_TD = axis_.gathered(dx_TD, scratch.dy_TD, stream);
  const Tensor &n_TD = scratch.n_TD, dn_TD = axis_.own_rows(scratch.n_TD);
  norm_.forward(axis_.own_rows(n_TD), saved.x_TD, saved.rstd_T, {}, stream);
  axis_.all_gather(n_TD, stream);
  if (const Moe* moe = std::get_if<Moe>(&branch_))
    moe->backward(n_TD, saved.experts, scratch, dy_TD, positions, sink, stream);
  else
    std::get<Mlp>(branch_).backward(n_TD, scratch.h_TF, saved.gate_up_T2F, dy_TD, sink, stream);
  axis_.reduce_scatter(dn_TD, n_TD, stream);
  norm_.backward(dx_TD, dn_TD, saved.x_TD, saved.rstd_T, scratch.dw_D, sink, stream);
}

}  // namespace fern
