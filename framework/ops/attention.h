// Causal grouped-query attention inside documents, in tiles: the T x T matrix is never stored (Dao et al.
// 2022, FlashAttention, algorithm 1; Dao 2023, section 3.1 for the backward). Query t sees keys
// document_start_T[t]..t.
//
// A row of qkv_TE holds H query heads, G key heads, G value heads of size K: E = (H + 2G) K. Query head h
// uses key and value head h / (H / G). Scores are scaled by 1 / sqrt(K).
#pragma once

#include "framework/core/tensor.h"

namespace fern {

// o_TM with M = H K. Saves lse_HT: log-sum-exp of each query's scaled scores.
// document_start_T: i32, non-decreasing, document_start[t] <= t.
void attention_forward(Tensor o_TM, Tensor lse_HT, const Tensor& qkv_TE, const Tensor& document_start_T,
                       int64_t heads, int64_t kv_heads, Stream& stream);
// Writes dqkv_TE. `delta_HT` is scratch: sum over K of do * o.
void attention_backward(Tensor dqkv_TE, Tensor delta_HT, const Tensor& do_TM, const Tensor& o_TM,
                        const Tensor& lse_HT, const Tensor& qkv_TE, const Tensor& document_start_T,
                        int64_t heads, int64_t kv_heads, Stream& stream);

// One new query against a cache: o_M from q_M and the first `length` rows of keys_CN, values_CN (N = G K, C
// capacity).
void attention_decode(Tensor o_M, const Tensor& q_M, const Tensor& keys_CN, const Tensor& values_CN,
                      int64_t length, int64_t heads, int64_t kv_heads, Stream& stream);

}  // namespace fern
