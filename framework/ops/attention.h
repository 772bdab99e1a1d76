// Causal grouped-query attention inside documents, in tiles: the T x T matrix is never stored (Dao et al.
// 2022, FlashAttention, algorithm 1; Dao 2023, section 3.1 for the backward). Keys and values come in blocks,
// so that they need not all be in one place: what queries make of each block is merged afterwards (Liu et al.
// 2023, ring attention, section 3).
//
// A row of qkv_TE holds H query heads, G key heads, G value heads of size K: E = (H + 2G) K. Query head h
// uses key and value head h / (H / G). Scores are scaled by 1 / sqrt(K).
#pragma once

#include "framework/core/tensor.h"

namespace fern {

// A block of S keys and values, and which of them each query sees: rows [first_T[t], end_T[t]), none where
// these are equal. Both are i32 and non-decreasing. The last 2 G K values of a row of kv_SR are its key heads
// and its value heads, so qkv itself is such a block: there query t sees its document's first row to t.
struct SeenKeys {
  Tensor kv_SR, first_T, end_T;
};

// o_TM with M = H K. Saves lse_HT: log-sum-exp of each query's scaled scores. Of a query that sees nothing
// these are 0 and -infinity.
void attention_forward(Tensor o_TM, Tensor lse_HT, const Tensor& qkv_TE, const SeenKeys& seen, int64_t heads,
                       int64_t kv_heads, Stream& stream);
// o and lse become those over the keys of both blocks. One of the two must have been seen.
void attention_merge(Tensor o_TM, Tensor lse_HT, const Tensor& other_o_TM, const Tensor& other_lse_HT,
                     Stream& stream);

// What attention_backward() writes or, where it `adds`, adds to: of dqkv_TE the query heads, and of dkv_SR,
// rows as those of the block, the key and value heads. They may be one tensor.
struct AttentionGradients {
  Tensor dqkv_TE, dkv_SR;
  Tensor delta_HT;  // scratch: sum over K of do * o
  bool adds = false;
};
// What the seen keys of one block have to do with do_TM. o_TM and lse_HT are those over all blocks.
void attention_backward(const AttentionGradients& gradients, const Tensor& do_TM, const Tensor& o_TM,
                        const Tensor& lse_HT, const Tensor& qkv_TE, const SeenKeys& seen, int64_t heads,
                        int64_t kv_heads, Stream& stream);

// One new query against a cache: o_M from q_M and the first `length` rows of keys_CN, values_CN (N = G K, C
// capacity).
void attention_decode(Tensor o_M, const Tensor& q_M, const Tensor& keys_CN, const Tensor& values_CN,
                      int64_t length, int64_t heads, int64_t kv_heads, Stream& stream);

}  // namespace fern
