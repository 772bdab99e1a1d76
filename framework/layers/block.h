// What the blocks of a layer share. A block is one pre-norm residual branch, x + f(norm(x)), and the sum is
// taken by whoever comes next: a block's forward is given its own branch-to-be-summed in saved.x_TD and the
// stream it joins as residual_TD, so that the sum costs no pass of its own.
//
// T tokens, D hidden, E = (H + 2G) K the row of queries, keys and values, M = H K, F inner size of the
// feed-forward. Experts' letters are those of moe.h. Where ranks share a layer (tensor_axis.h), H, G and F
// are those of this rank, and so are the T rows of the residual stream: x, dx and what a norm saves. Where
// ranks share sequences (context_axis.h), all T tokens are those of this rank.
#pragma once

#include <cstdint>

#include "framework/core/arena.h"
#include "framework/core/tensor.h"
#include "framework/layers/positions.h"
#include "framework/layers/ring_attention.h"
#include "framework/layers/tensor_axis.h"
#include "framework/layers/token_dispatcher.h"
#include "framework/model/config.h"

namespace fern {

// Memory for the inside of one call, shared by all blocks. The wide tensors are one piece of memory: no two
// of them live at a time.
struct BlockScratch {
  Tensor n_TD;                                   // all rows of the norm's output, or of a tensor of its size
  Tensor do_TM;                                  // in the memory of n_TD
  Tensor dy_TD, dw_D, dgain_2K;                  // of several ranks: all rows of dy; norms' gradients
  Tensor h_TF, h_TS, h_QF, dqkv_TE, dhidden_TD;  // wide
  Tensor delta_HT;
  // Of layers with experts: rows of their inputs or outputs, those of this rank's tokens and those at its
  // experts (on one rank the same memory); the router's logits or their gradient; gates of rows or their
  // gradient, both ways again; the gates' gradient.
  Tensor rows_RD, here_QD, logits_TE, gate_R, dgate_Q, dgate_TK;
  RingScratch ring;                          // where ranks share sequences
  BlockScratch first(int64_t tokens) const;  // for the first tokens only; without what backward alone needs
};

BlockScratch allocate_block_scratch(Arena& arena, const ModelConfig& config, const TensorAxis& axis,
                                    const TokenDispatcher& dispatcher, int64_t tokens);

// What one rank computes of a layer: its heads, and its part of the feed-forwards' inner sizes.
struct LayerShare {
  LayerShare(const ModelConfig& config, const TensorAxis& axis);
  int64_t heads, kv_heads, head_size, ffn, expert_ffn, shared_ffn;
  int64_t query_size() const { return heads * head_size; }
  int64_t kv_size() const { return kv_heads * head_size; }
  int64_t qkv_size() const { return query_size() + 2 * kv_size(); }
};

}  // namespace fern
