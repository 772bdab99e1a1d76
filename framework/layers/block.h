// What the blocks of a layer share. A block is one pre-norm residual branch, x + f(norm(x)), and the sum is
// taken by whoever comes next: a block's forward is given its own branch-to-be-summed in saved.x_TD and the
// stream it joins as residual_TD, so that the sum costs no pass of its own.
//
// T tokens, D hidden, E = (H + 2G) K the row of queries, keys and values, M = H K, F inner size of the
// feed-forward. Experts' letters are those of moe.h.
#pragma once

#include <cstdint>

#include "framework/core/arena.h"
#include "framework/core/tensor.h"
#include "framework/model/config.h"

namespace fern {

// Where each position stands: the start of its document (i32), and the rotary tables of all positions.
struct Positions {
  Tensor document_start_T, cos_PK, sin_PK;
};

// Memory for the inside of one call, shared by all blocks. The wide tensors are one piece of memory: no two
// of them live at a time.
struct BlockScratch {
  Tensor n_TD;                                   // the norm's output, or a gradient of that size
  Tensor h_TF, h_TS, h_RF, dqkv_TE, dhidden_TD;  // wide
  Tensor delta_HT;
  // Of layers with experts: rows of their inputs or outputs, the router's logits or their gradient, the
  // gates' gradient.
  Tensor rows_RD, logits_TE, dgate_TK;
  BlockScratch first(int64_t tokens) const;  // for the first tokens only; without delta
};

Positions allocate_positions(Arena& arena, const ModelConfig& config, int64_t tokens);
BlockScratch allocate_block_scratch(Arena& arena, const ModelConfig& config, int64_t tokens);

// Width of a row of queries, keys and values.
inline int64_t qkv_size(const ModelConfig& config) {
  return (config.heads + 2 * config.kv_heads) * config.head_size();
}

}  // namespace fern
