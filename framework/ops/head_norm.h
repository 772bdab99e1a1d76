// RMSNorm of each of some heads of a row of queries, keys and values (rotary.h), in place, with one gain for
// all of them: what queries and keys may go through before they are rotated (Dehghani et al. 2023, section 2,
// "QK normalization"; with the mean square in place of the variance, as Qwen3, Yang et al. 2025, section 2).
// T tokens, K head size, J = (H + G) K the queries and keys of a row.
#pragma once

#include <cstdint>

#include "framework/core/tensor.h"

namespace fern {

// Heads of a row, counted from its first query.
struct HeadRange {
  int64_t begin = 0, end = 0;
};

// Saves the heads as they came, at their places in raw. w is wide.
void head_norm_forward(Tensor qkv_TE, Tensor raw_TJ, const Tensor& w_K, HeadRange heads, double epsilon,
                       Stream& stream);
// dqkv: on entry the gradient of the heads as they went, on return that of them as they came. dw += ...
void head_norm_backward(Tensor dqkv_TE, Tensor dw_K, const Tensor& raw_TJ, const Tensor& w_K, HeadRange heads,
                        double epsilon, Stream& stream);

}  // namespace fern
