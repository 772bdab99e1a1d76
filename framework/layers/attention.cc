#include "framework/layers/attention.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/ops/attention.h"
#include "framework/ops/rotary.h"

namespace fern {

namespace {

std::string name_in(int64_t layer, std::string_view rest) {
  return fmt::format("model.layers.{}.{}.weight", layer, rest);
}

// Queries, keys and values of all heads are one product.
ParameterRun add_qkv(Parameters& parameters, const TensorAxis& axis, const ModelConfig& config,
                     int64_t layer) {
  const auto add = [&](std::string_view name, int64_t heads) {
    const Placement place = axis.rows(heads * config.head_size());
    return parameters.add(name_in(layer, name), {axis.own(place.whole).elements(), config.hidden},
                          ParameterKind::kMatrix, kInitialStd, 1, place);
  };
  const int first = add("self_attn.q_proj", config.heads);
  add("self_attn.k_proj", config.kv_heads);
  add("self_attn.v_proj", config.kv_heads);
  return {first, 3};
}

ParameterRun add_output(Parameters& parameters, const TensorAxis& axis, const ModelConfig& config,
                        int64_t layer) {
  const Placement place = axis.columns(config.query_size());
  return {
      parameters.add(name_in(layer, "self_attn.o_proj"), {config.hidden, axis.own(place.whole).elements()},
                     ParameterKind::kMatrix, residual_initial_std(config), 1, place),
      1};
}

std::optional<QkNorm> add_qk_norm(Parameters& parameters, TensorAxis& axis, const ModelConfig& config,
                                  int64_t layer) {
  if (!config.qk_norm) return std::nullopt;
  return QkNorm(parameters, axis, config, fmt::format("model.layers.{}.self_attn", layer));
}

}  // namespace

AttentionBlock::Saved AttentionBlock::Saved::first(int64_t tokens) const {
  return {.x_TD = x_TD.rows(0, tokens),
          .rstd_T = rstd_T.rows(0, tokens),
          .raw_TJ = raw_TJ.empty() ? raw_TJ : raw_TJ.rows(0, tokens),
          .qkv_TE = qkv_TE.rows(0, tokens),
          .o_TM = o_TM.rows(0, tokens),
          .lse_HT = {}};
}

AttentionBlock::AttentionBlock(Parameters& parameters, TensorAxis& axis, ContextAxis& context,
                               const ModelConfig& config, int64_t layer)
    : config_(config),
      axis_(axis),
      share_(config, axis),
      norm_(parameters, axis, name_in(layer, "input_layernorm"), config.hidden, config.norm_epsilon),
      qkv_proj_(parameters, add_qkv(parameters, axis, config, layer)),
      qk_norm_(add_qk_norm(parameters, axis, config, layer)),
      o_proj_(parameters, add_output(parameters, axis, config, layer)),
      attention_(context, share_.heads, share_.kv_heads) {}

AttentionBlock::Saved AttentionBlock::allocate(Arena& arena, int64_t tokens) const {
  const auto take = [&](Shape shape) { return arena.allocate(config_.dtype, shape); };
  const auto take_wide = [&](Shape shape) { return arena.allocate(wide_of(config_.dtype), shape); };
  const int64_t own_tokens = axis_.own(tokens).elements();
  Saved saved = {.x_TD = take({own_tokens, config_.hidden}),
                 .rstd_T = take_wide({own_tokens}),
                 .raw_TJ = {},
                 .qkv_TE = take({tokens, share_.qkv_size()}),
                 .o_TM = take({tokens, share_.query_size()}),
                 .lse_HT = take_wide({share_.heads, tokens})};
  if (qk_norm_) saved.raw_TJ = take({tokens, share_.query_size() + share_.kv_size()});
  return saved;
}

void AttentionBlock::reserve_packed(PackingRooms& rooms, const WeightUse& use) {
  qkv_proj_.reserve_packed(rooms, use);
  o_proj_.reserve_packed(rooms, use);
}

void AttentionBlock::forward(Tensor y_TD, const Saved& saved, const BlockScratch& scratch,
                             const Tensor& residual_TD, const Positions& positions, Stream& stream) const {
  project(saved, scratch, residual_TD, positions, 0, stream);
  attention_.forward(saved.o_TM, saved.lse_HT, /*other_o_TM=*/scratch.do_TM,
                     /*other_lse_HT=*/scratch.delta_HT, saved.qkv_TE, positions, scratch.ring, stream);
  const Tensor sum_TD = axis_.room_of_sum(y_TD, scratch.n_TD);
  o_proj_.forward(sum_TD, saved.o_TM, stream);
  axis_.reduce_scatter(y_TD, sum_TD, stream);
}

void AttentionBlock::backward(Tensor dx_TD, const Saved& saved, const BlockScratch& scratch,
                              const Positions& positions, GradSink& sink, Stream& stream) const {
  const Tensor dy_TD = axis_.gathered(dx_TD, scratch.dy_TD, stream);
  const Tensor &do_TM = scratch.do_TM, &n_TD = scratch.n_TD, &dn_TD = scratch.n_TD;
  o_proj_.backward_weight(dy_TD, saved.o_TM, stream);
  o_proj_.report(sink);
  o_proj_.backward_input(do_TM, dy_TD, stream);
  attention_.backward(scratch.dqkv_TE, scratch.delta_HT, do_TM, saved.o_TM, saved.lse_HT, saved.qkv_TE,
                      positions, scratch.ring, stream);
  rotary_backward(scratch.dqkv_TE, positions.cos_PK, positions.sin_PK, positions.position_T, share_.heads,
                  share_.kv_heads, stream);
  if (qk_norm_) qk_norm_->backward(scratch.dqkv_TE, saved.raw_TJ, scratch.dgain_2K, sink, stream);
  norm_.forward(axis_.own_rows(n_TD), saved.x_TD, saved.rstd_T, {}, stream);
  axis_.all_gather(n_TD, stream);
  qkv_proj_.backward_weight(scratch.dqkv_TE, n_TD, stream);
  qkv_proj_.report(sink);
  qkv_proj_.backward_input(dn_TD, scratch.dqkv_TE, stream);
  axis_.reduce_scatter(axis_.own_rows(dn_TD), dn_TD, stream);
  norm_.backward(dx_TD, axis_.own_rows(dn_TD), saved.x_TD, saved.rstd_T, scratch.dw_D, sink, stream);
}

void AttentionBlock::decode(Tensor y_BD, const KeyValues& cache, const Saved& saved,
                            const BlockScratch& scratch, const Tensor& residual_BD,
                            const Positions& positions, int64_t length, Stream& stream) const {
  project(saved, scratch, residual_BD, positions, length, stream);
  append(cache, saved.qkv_TE, length);
  const int64_t tokens = saved.qkv_TE.dim(0), query_size = share_.query_size(), row_size = share_.qkv_size();
  const Tensor qkv = saved.qkv_TE.reshape({tokens * row_size});
  for (int64_t t = 0; t < tokens; ++t) {
    const Tensor o_M = saved.o_TM.rows(t, t + 1).reshape({query_size});
    attention_decode(o_M, qkv.rows(t * row_size, t * row_size + query_size), cache.keys_CN, cache.values_CN,
                     length + t + 1, share_.heads, share_.kv_heads, stream);
  }
  o_proj_.forward(y_BD, saved.o_TM, stream);
}

void AttentionBlock::project(const Saved& saved, const BlockScratch& scratch, const Tensor& residual_TD,
                             const Positions& positions, int64_t offset, Stream& stream) const {
  norm_.forward(axis_.own_rows(scratch.n_TD), saved.x_TD, saved.rstd_T, residual_TD, stream);
  axis_.all_gather(scratch.n_TD, stream);
  qkv_proj_.forward(saved.qkv_TE, scratch.n_TD, stream);
  if (qk_norm_) qk_norm_->forward(saved.qkv_TE, saved.raw_TJ, stream);
  rotary_forward(saved.qkv_TE, positions.cos_PK, positions.sin_PK, positions.position_T, share_.heads,
                 share_.kv_heads, offset, stream);
}

void AttentionBlock::append(const KeyValues& cache, const Tensor& qkv_BE, int64_t length) const {
  with_float_type("attention", config_.dtype, [&]<typename T>() {
    const int64_t tokens = qkv_BE.dim(0), query_size = share_.query_size(), kv_size = cache.keys_CN.dim(1);
    for (int64_t t = 0; t < tokens; ++t) {
      const T* keys = qkv_BE.as<T>() + t * qkv_BE.dim(1) + query_size;
      std::copy_n(keys, kv_size, cache.keys_CN.as<T>() + (length + t) * kv_size);
      std::copy_n(keys + kv_size, kv_size, cache.values_CN.as<T>() + (length + t) * kv_size);
    }
  });
}

}  // namespace fern
