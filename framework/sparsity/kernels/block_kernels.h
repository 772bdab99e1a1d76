// The products of a weight made of blocks, for a few tokens or rows at a time, compiled once per instruction
// set. Blocks are of any multiple of kBlockStep rows and columns.
//
// A word is what a lane of a vector holds: an f32, or a pair of bf16 that are neighbours in the direction of
// the sum, where two are multiplied and added at once.
#pragma once

#include <cstdint>

#include "framework/core/bf16.h"
#include "framework/sparsity/kernels/csr_kernels.h"
#include "framework/sparsity/simd_level.h"

namespace fern {

// Outputs that are summed at once, and features that lie together in a strip.
inline constexpr int64_t kBlockStep = 4;

// Blocks by the output that they add to: run b, from run_begin[b] to run_begin[b + 1], holds the blocks of
// outputs [b, b + 1) * block_outputs. Block i covers words [input[i], input[i] + 1) * block_inputs of x, and
// its weights begin at words[i * block_outputs * block_inputs]: kBlockStep outputs after kBlockStep outputs,
// with output o of them, word k at o * output_step + k * input_step.
struct BlockRuns {
  int64_t outputs, inputs, block_outputs, block_inputs;  // inputs in words
  const int64_t* run_begin;
  const uint16_t* input;
  int64_t output_step, input_step;
  const float* words;
};

template <typename T>
struct BlockKernels {
  int64_t sum_tokens;  // that either kind of product sums at once: it reads the weights once for so many
  // Outputs [first, last), multiples of kBlockStep, of y = x W^T; words are f32. REQUIRES: at most
  // kBlockTokens tokens; room for block_product_room(inputs) floats, 64-byte aligned.
  void (*product)(TokenRows<T> y, TokenRows<const T> x, const BlockRuns& w, int64_t first, int64_t last,
                  float* room);
  // Words [first, last), multiples of kStripStep, of neighbouring tokens of `features` features, into strips:
  // [features / kBlockStep][capacity][kBlockStep], zero for tokens that x does not have.
  void (*fill_strips)(float* strips, TokenRows<const T> x, int64_t features, int64_t first, int64_t last,
                      int64_t capacity);
  // Adds dy^T x to the gradients of outputs [first, last), whose strips `dy` begins with. REQUIRES: `runs` in
  // the order of the values, inputs counted one by one; `capacity` a multiple of kStripStep.
  void (*add_gradient)(float* dvalues, const float* dy, const float* x, const BlockRuns& runs, int64_t first,
                       int64_t last, int64_t capacity);
};

// The product for many tokens of bf16.
struct BlockPairKernels {
  // Weights rounded to bf16 as pairs of neighbouring inputs: output_step 1, input_step kBlockStep. Block i of
  // [first, last) is block order[i], or i where order is null, of w, whose outputs are all output_step apart.
  void (*pack)(float* words, const BlockRuns& w, const uint32_t* order, int64_t first, int64_t last);
  // As BlockKernels::product, of weights that are packed.
  void (*product)(TokenRows<BF16> y, TokenRows<const BF16> x, const BlockRuns& pairs, int64_t first,
                  int64_t last, float* room);
};

// Most tokens of one call of product(), and what a strip's capacity is a multiple of.
inline constexpr int64_t kBlockTokens = 64, kStripStep = 4;

// Outputs that are made before they are written: a line of the cache for every token.
inline constexpr int64_t kBlockOutputs = 16;
// Outputs that are made of sum_tokens tokens before the same weights meet the next ones.
inline constexpr int64_t kPanelOutputs = 256;

constexpr int64_t block_product_room(int64_t inputs) { return kBlockTokens * (inputs + kBlockOutputs); }

template <typename T>
const BlockKernels<T>& block_kernels(SimdLevel level);
const BlockPairKernels& block_pair_kernels(SimdLevel level);

}  // namespace fern
