#include "framework/layers/feed_forward.h"

#include <fmt/format.h>

#include "framework/ops/swiglu.h"

namespace fern {

namespace {

std::string name_in(int64_t layer, std::string_view rest) {
  return fmt::format("model.layers.{}.{}.weight", layer, rest);
}

ParameterRun add_gate_up(Parameters& parameters, const ModelConfig& config, int64_t layer) {
  const auto add = [&](std::string_view name) {
    return parameters.add(name_in(layer, name), {config.ffn, config.hidden}, ParameterKind::kMatrix,
                          kInitialStd);
  };
  const int first = add("mlp.gate_proj");
  add("mlp.up_proj");
  return {first, 2};
}

ParameterRun add_down(Parameters& parameters, const ModelConfig& config, int64_t layer) {
  return {parameters.add(name_in(layer, "mlp.down_proj"), {config.hidden, config.ffn}, ParameterKind::kMatrix,
                         residual_initial_std(config)),
          1};
}

}  // namespace

FeedForwardBlock::Saved FeedForwardBlock::Saved::first(int64_t tokens) const {
  return {x_TD.rows(0, tokens), rstd_T.rows(0, tokens), gate_up_T2F.rows(0, tokens)};
}

FeedForwardBlock::FeedForwardBlock(Parameters& parameters, const ModelConfig& config, int64_t layer)
    : config_(config),
      norm_(parameters, name_in(layer, "post_attention_layernorm"), config.hidden, config.norm_epsilon),
      gate_up_proj_(parameters, add_gate_up(parameters, config, layer)),
      down_proj_(parameters, add_down(parameters, config, layer)) {}

FeedForwardBlock::Saved FeedForwardBlock::allocate(Arena& arena, int64_t tokens) const {
  const auto take = [&](Shape shape) { return arena.allocate(config_.dtype, shape); };
  return {take({tokens, config_.hidden}), arena.allocate(wide_of(config_.dtype), {tokens}),
          take({tokens, 2 * config_.ffn})};
}

void FeedForwardBlock::allocate_packed(Arena& arena) {
  gate_up_proj_.allocate_packed(arena, config_.dtype);
  down_proj_.allocate_packed(arena, config_.dtype);
}

void FeedForwardBlock::forward(Tensor y_TD, const Saved& saved, const BlockScratch& scratch,
                               const Tensor& residual_TD, Stream& stream) const {
  recompute(saved, scratch, residual_TD, stream);
  swiglu_forward(scratch.h_TF, saved.gate_up_T2F, stream);
  down_proj_.forward(y_TD, scratch.h_TF, stream);
}

void FeedForwardBlock::recompute(const Saved& saved, const BlockScratch& scratch, const Tensor& residual_TD,
                                 Stream& stream) const {
  norm_.forward(scratch.n_TD, saved.x_TD, saved.rstd_T, residual_TD, stream);
  gate_up_proj_.forward(saved.gate_up_T2F, scratch.n_TD, stream);
}

void FeedForwardBlock::backward(Tensor dx_TD, const Saved& saved, const BlockScratch& scratch, GradSink& sink,
                                Stream& stream) const {
  const Tensor& dy_TD = dx_TD;
  const Tensor &h_TF = scratch.h_TF, &dh_TF = scratch.h_TF, &dgate_up_T2F = saved.gate_up_T2F;
  const Tensor &n_TD = scratch.n_TD, &dn_TD = scratch.n_TD;
  swiglu_forward(h_TF, saved.gate_up_T2F, stream);
  down_proj_.backward_weight(dy_TD, h_TF, stream);
  down_proj_.report(sink);
  down_proj_.backward_input(dh_TF, dy_TD, stream);
  swiglu_backward(dgate_up_T2F, dh_TF, saved.gate_up_T2F, stream);
  norm_.forward(n_TD, saved.x_TD, saved.rstd_T, {}, stream);
  gate_up_proj_.backward_weight(dgate_up_T2F, n_TD, stream);
  gate_up_proj_.report(sink);
  gate_up_proj_.backward_input(dn_TD, dgate_up_T2F, stream);
  norm_.backward(dx_TD, dn_TD, saved.x_TD, saved.rstd_T, sink, stream);
}

}  // namespace fern
