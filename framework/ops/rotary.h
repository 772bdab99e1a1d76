// Rotary position embedding, half-split layout (Su et al. 2021; element i pairs with i + K/2, as Llama's
// checkpoints in Hugging Face form do).
//
// A row of qkv_TE holds H query heads, G key heads, G value heads of size K: E = (H + 2G) K.
#pragma once

#include "framework/core/tensor.h"

namespace fern {

// Fills cos and sin for positions 0..P-1: tables of [P, K/2]. angle(p, i) = p * theta^(-2i/K), computed in
// f64.
void rotary_tables(Tensor cos_PK, Tensor sin_PK, double theta);
// Rotates the query and key heads of qkv in place by position_T[t] + offset; i32, counted from the start of
// each document.
void rotary_forward(Tensor qkv_TE, const Tensor& cos_PK, const Tensor& sin_PK, const Tensor& position_T,
                    int64_t heads, int64_t kv_heads, int64_t offset, Stream& stream);
// The inverse rotation, on dqkv.
void rotary_backward(Tensor dqkv_TE, const Tensor& cos_PK, const Tensor& sin_PK, const Tensor& position_T,
                     int64_t heads, int64_t kv_heads, Stream& stream);

}  // namespace fern
