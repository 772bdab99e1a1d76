// The products of a weight made of blocks, for a few tokens or rows at a time, compiled once per instruction
// set. Blocks are of any multiple of kBlockStep rows and columns.
#pragma once

#include <cstdint>

#include "framework/core/bf16.h"
#include "framework/sparsity/kernels/csr_kernels.h"
#include "framework/sparsity/simd_level.h"

namespace fern {

// Outputs that are summed at once, and inputs that lie together in a strip.
inline constexpr int64_t kBlockStep = 4;

// Blocks by the output that they add to: run b, from run_begin[b] to run_begin[b + 1], holds the blocks of
// outputs [b, b + 1) * block_outputs. Block i of a run covers inputs [input[i], input[i] + 1) *
// block_inputs; the weight of its output o and input k is values[block[i] * block_outputs * block_inputs +
// o * output_step + k * input_step].
struct BlockRuns {
  int64_t outputs, inputs, block_outputs, block_inputs;
  const int64_t* run_begin;
  const uint16_t* input;
  const uint32_t* block;  // null: block i is i
  int64_t output_step, input_step;
  const float* values;
};

template <typename T>
struct BlockKernels {
  // Outputs [first, last), multiples of kBlockStep, of y = x W^T. REQUIRES: at most kBlockTokens tokens; room
  // for block_product_room(inputs) floats, 64-byte aligned.
  void (*product)(TokenRows<T> y, TokenRows<const T> x, const BlockRuns& w, int64_t first, int64_t last,
                  float* room);
  // Tokens [first, last) of `features` features, a multiple of kBlockStep, into strips: [features /
  // kBlockStep][capacity][kBlockStep], zero for tokens that x does not have.
  void (*fill_strips)(float* strips, TokenRows<const T> x, int64_t features, int64_t first, int64_t last,
                      int64_t capacity);
  // Adds dy^T x to the gradients of outputs [first, last), whose strips `dy` begins with. REQUIRES: `runs` in
  // the order of the values; strips of `capacity` tokens, a multiple of kStripTokens.
  void (*add_gradient)(float* dvalues, const float* dy, const float* x, const BlockRuns& runs, int64_t first,
                       int64_t last, int64_t capacity);
};

// Tokens of one call of product(), and what a strip's capacity is a multiple of.
inline constexpr int64_t kBlockTokens = 64, kStripTokens = 4;

// Outputs that are made before they are written: a line of the cache for every token.
inline constexpr int64_t kBlockOutputs = 16;

constexpr int64_t block_product_room(int64_t inputs) { return kBlockTokens * (inputs + kBlockOutputs); }

template <typename T>
const BlockKernels<T>& block_kernels(SimdLevel level);

}  // namespace fern
