// The unstructured products for a few tokens or rows at a time, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "framework/core/bf16.h"
#include "framework/sparsity/simd_level.h"

namespace fern {

// A sparse matrix cut into bands of inputs: the weights of one output within one band are a run. Weight i of
// the run of output o in band b, i from run_begin[o * output_step + b * band_step] to the next element of
// run_begin, has the value values[i] and the input origin[b] + index[i].
struct CsrRuns {
  int64_t outputs, inputs, bands;
  const int64_t* origin;  // bands
  const uint32_t* run_begin;
  int64_t output_step, band_step;
  const uint16_t* index;
  const float* values;
};

// Activations of `tokens` tokens, `stride` values from one to the next.
template <typename T>
struct TokenRows {
  T* data;
  int64_t stride, tokens;
};

template <typename T>
struct CsrKernels {
  // Outputs [first, last) of y = x W^T. REQUIRES: at most tile_tokens tokens; room for
  // csr_product_room(inputs) floats, 64-byte aligned.
  void (*product)(TokenRows<T> y, TokenRows<const T> x, const CsrRuns& w, int64_t first, int64_t last,
                  float* room);

  // The gradient reads both activations as tiles of gradient_tokens tokens, f32 [feature][token].
  int64_t gradient_tokens;
  // tile = x turned over, `features` of them; tokens that do not exist become zero.
  void (*read_gradient_tile)(float* tile, TokenRows<const T> x, int64_t features);
  // dvalues += dY^T X for the weights of outputs [first, last).
  void (*add_gradient)(float* dvalues, const float* dy, const float* x, const CsrRuns& w, int64_t first,
                       int64_t last);
};

// Tokens of one call.
inline constexpr int64_t kCsrTokens = 64;

// Outputs that are summed at once: with their tile of tokens they stay in the second cache.
inline constexpr int64_t kCsrOutputs = 512;

constexpr int64_t csr_product_room(int64_t inputs) { return kCsrTokens * (inputs + kCsrOutputs); }

template <typename T>
const CsrKernels<T>& csr_kernels(SimdLevel level);

}  // namespace fern
