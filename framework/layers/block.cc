#include "framework/layers/block.h"

#include <algorithm>

namespace fern {

namespace {

// The most rows of experts here, of each token.
int64_t rows_of_token(const ModelConfig& config, const TokenDispatcher& dispatcher) {
  return dispatcher.most_rows(config.experts.active, config.experts.count);
}

// Values of a wide tensor of a token.
int64_t wide_size(const ModelConfig& config, const LayerShare& share, const TokenDispatcher& dispatcher) {
  const int64_t dense = config.expert_layers() < config.layers ? share.ffn : 0;
  int64_t most = std::max({dense, share.qkv_size(), config.hidden});
  if (config.expert_layers() > 0)
    most = std::max({most, rows_of_token(config, dispatcher) * share.expert_ffn, share.shared_ffn});
  return most;
}

// `rows` of them; no tensor stays none.
Tensor cut(const Tensor& tensor, int64_t rows) {
  return tensor.shape().rank() == 0 ? tensor : tensor.rows(0, rows);
}

void allocate_expert_scratch(BlockScratch& scratch, Arena& arena, const ModelConfig& config,
                             const TokenDispatcher& dispatcher, int64_t tokens) {
  const int64_t experts = config.experts.count, active = config.experts.active;
  const int64_t rows = tokens * active, rows_here = tokens * rows_of_token(config, dispatcher);
  const DType wide = wide_of(config.dtype);
  scratch.here_QD = arena.allocate(config.dtype, {rows_here, config.hidden});
  scratch.dgate_Q = arena.allocate(wide, {rows_here});
  scratch.rows_RD = scratch.here_QD;
  scratch.gate_R = scratch.dgate_Q;
  if (dispatcher.size() > 1) {
    scratch.rows_RD = arena.allocate(config.dtype, {rows, config.hidden});
    scratch.gate_R = arena.allocate(wide, {rows});
  }
  scratch.logits_TE = arena.allocate(wide, {tokens, experts});
  scratch.dgate_TK = arena.allocate(wide, {tokens, active});
}

}  // namespace

LayerShare::LayerShare(const ModelConfig& config, const TensorAxis& axis)
    : heads(axis.own(config.heads).elements()),
      kv_heads(axis.own(config.kv_heads).elements()),
      head_size(config.head_size()),
      ffn(axis.own(config.ffn).elements()),
      expert_ffn(axis.own(config.expert_ffn()).elements()),
      shared_ffn(axis.own(config.experts.shared * config.expert_ffn()).elements()) {}

BlockScratch allocate_block_scratch(Arena& arena, const ModelConfig& config, const TensorAxis& axis,
                                    const TokenDispatcher& dispatcher, int64_t tokens) {
  const LayerShare share(config, axis);
  BlockScratch scratch;
  const Tensor narrow = arena.allocate(config.dtype, {tokens, std::max(config.hidden, share.query_size())});
  const Tensor wide = arena.allocate(config.dtype, {tokens, wide_size(config, share, dispatcher)});
  const auto view = [&](const Tensor& memory, int64_t rows, int64_t size) {
    return Tensor(memory.data(), config.dtype, {rows, size});
  };
  scratch.n_TD = view(narrow, tokens, config.hidden);
  scratch.do_TM = view(narrow, tokens, share.query_size());
  scratch.h_TF = view(wide, tokens, share.ffn);
  scratch.dqkv_TE = view(wide, tokens, share.qkv_size());
  scratch.dhidden_TD = view(wide, tokens, config.hidden);
  scratch.delta_HT = arena.allocate(wide_of(config.dtype), {share.heads, tokens});
  if (axis.size() > 1) {
    scratch.dy_TD = arena.allocate(config.dtype, {tokens, config.hidden});
    scratch.dw_D = arena.allocate(wide_of(config.dtype), {config.hidden});
    if (config.qk_norm) scratch.dgain_2K = arena.allocate(wide_of(config.dtype), {2 * share.head_size});
  }
  if (config.expert_layers() > 0) {
    scratch.h_QF = view(wide, tokens * rows_of_token(config, dispatcher), share.expert_ffn);
    scratch.h_TS = view(wide, tokens, share.shared_ffn);
    allocate_expert_scratch(scratch, arena, config, dispatcher, tokens);
  }
  return scratch;
}

BlockScratch BlockScratch::first(int64_t tokens) const {
  const int64_t active = dgate_TK.shape().rank() == 0 ? 0 : dgate_TK.dim(1);
  return {.n_TD = n_TD.rows(0, tokens),
          .do_TM = {},
          .dy_TD = {},
          .dw_D = {},
          .dgain_2K = {},
          .h_TF = h_TF.rows(0, tokens),
          .h_TS = cut(h_TS, tokens),
          .h_QF = cut(h_QF, tokens * active),
          .dqkv_TE = dqkv_TE.rows(0, tokens),
          .dhidden_TD = dhidden_TD.rows(0, tokens),
          .delta_HT = {},
          .rows_RD = cut(rows_RD, tokens * active),
          .here_QD = cut(here_QD, tokens * active),
          .logits_TE = cut(logits_TE, tokens),
          .gate_R = cut(gate_R, tokens * active),
          .dgate_Q = {},
          .dgate_TK = cut(dgate_TK, tokens),
          .ring = {}};
}

}  // namespace fern
