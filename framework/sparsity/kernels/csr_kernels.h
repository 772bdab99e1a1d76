// The unstructured products for a few tokens or rows at a time, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "framework/core/bf16.h"
#include "framework/sparsity/simd_level.h"

namespace fern {

// The weights of one output within one band of inputs.
struct CsrRun {
  uint32_t begin;   // the first of them in the pattern's order
  uint16_t output;  // counted from the first of its group
  uint16_t count;
};

// A sparse matrix cut into groups of outputs and bands of inputs; where both meet is cell group * bands +
// band. Its runs are runs[first_run[cell]] to the next element of first_run, the shorter ones first: the
// processor foresees the end of a run that is as long as the one before. Each output of the group has a run
// in the first band, and in others if it has weights there. Weight i has the value values[i] and the input
// origin[band] + index[i]. Where first_weight is null, values and index are in the pattern's order; otherwise
// in that of the runs, those of a cell from first_weight[cell] on, and are read one after another.
// kCsrRunsAhead runs follow the last: in the pattern's order, kernels fetch that far ahead.
inline constexpr int64_t kCsrRunsAhead = 4;
struct CsrRuns {
  int64_t outputs, inputs, groups, bands;
  int64_t group_outputs;  // of every group but the last, at most kCsrOutputs
  int64_t band_inputs;    // of every band but the last; of no use to a product
  const int64_t* origin;  // bands
  const uint32_t* first_run;
  const CsrRun* runs;
  const uint32_t* first_weight;
  const uint16_t* index;
  const float* values;
  const BF16* rounded;  // in place of values for kernels that read bf16
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
  // y = x W^T for the outputs of some groups.
  void (*product)(TokenRows<T> y, TokenRows<const T> x, const CsrRuns& w, CsrRange groups,
                  const CsrRoom& room);

  // The gradient reads both activations as tiles of gradient_tokens tokens, each feature of them
  // gradient_bytes long and after the other.
  int64_t gradient_tokens, gradient_bytes;
  // tile = x turned over, `features` of them; tokens that do not exist become zero. Features are written in
  // full kCsrFeatures: REQUIRES room for those.
  void (*read_gradient_tile)(void* tile, TokenRows<const T> x, int64_t features);
  // dvalues += dY^T X for the weights of one group in some bands. The tiles begin with the group's first
  // output, and with the first input of the first band. REQUIRES: w.first_weight.
  void (*add_gradient)(float* dvalues, const void* dy, const void* x, const CsrRuns& w, int64_t group,
                       CsrRange bands);
};

inline constexpr int64_t kCsrFeatures = 32;

// Outputs whose sums, of at most kCsrTokens tokens, stay in the second cache.
inline constexpr int64_t kCsrOutputs = 256, kCsrTokens = 128;
inline constexpr int64_t kCsrSumBytes = kCsrTokens * kCsrOutputs * 4;

template <typename T>
const CsrKernels<T>& csr_kernels(SimdLevel level);

}  // namespace fern
