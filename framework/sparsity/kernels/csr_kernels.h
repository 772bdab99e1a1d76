// The unstructured products for a few tokens or rows at a time, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "framework/core/bf16.h"
#include "framework/sparsity/simd_level.h"

namespace fern {

// A sparse matrix cut into bands of inputs: the weights of one output within one band are a run. Weight i of
// the run of output o in band b, i from run_begin[o * output_step + b * band_step] to the next element of
// run_begin, has the value values[i] and the input origin[b] + index[i]. run_begin goes on for kCsrRunsAhead
// outputs past the last: kernels fetch that far ahead.
inline constexpr int64_t kCsrRunsAhead = 2;
struct CsrRuns {
  int64_t outputs, inputs, bands;
  int64_t band_inputs;    // of every band but the last; of no use to a product
  const int64_t* origin;  // bands
  const uint32_t* run_begin;
  int64_t output_step, band_step;
  const uint16_t* index;
  const float* values;
  const BF16* rounded = nullptr;  // in place of values for kernels that read bf16
};

// Activations of `tokens` tokens, `stride` values from one to the next.
template <typename T>
struct TokenRows {
  T* data;
  int64_t stride, tokens;
};

// What a product works in, 64-byte aligned: a tile of its tokens with kCsrFeatures more features than there
// are inputs, and kCsrSumBytes.
struct CsrRoom {
  void *tile, *sums;
};

struct CsrRange {
  int64_t first, last;
};

template <typename T>
struct CsrKernels {
  bool reads_rounded;  // weights: `rounded`, not `values`
  // Tokens of one call: the second number for matrices so dense that few inputs make a band.
  int64_t product_tokens, dense_product_tokens;
  int64_t product_bytes;  // of a token of one feature of the tile
  // Outputs [first, last) of y = x W^T.
  void (*product)(TokenRows<T> y, TokenRows<const T> x, const CsrRuns& w, int64_t first, int64_t last,
                  const CsrRoom& room);

  // The gradient reads both activations as tiles of gradient_tokens tokens, each feature of them
  // gradient_bytes long and after the other.
  int64_t gradient_tokens, gradient_bytes;
  // tile = x turned over, `features` of them; tokens that do not exist become zero. Features are written in
  // full kCsrFeatures: REQUIRES room for those.
  void (*read_gradient_tile)(void* tile, TokenRows<const T> x, int64_t features);
  // dvalues += dY^T X for the weights of some outputs in some bands. The tiles begin with the first output,
  // and with the first input of the first band.
  void (*add_gradient)(float* dvalues, const void* dy, const void* x, const CsrRuns& w, CsrRange outputs,
                       CsrRange bands);
};

inline constexpr int64_t kCsrFeatures = 32;

// Outputs that a product sums at once for 64 tokens (fewer for more): they stay in the second cache.
inline constexpr int64_t kCsrOutputs = 512;
inline constexpr int64_t kCsrSumBytes = 64 * kCsrOutputs * 4;

template <typename T>
const CsrKernels<T>& csr_kernels(SimdLevel level);

}  // namespace fern
