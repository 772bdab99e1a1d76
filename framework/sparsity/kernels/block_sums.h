// Y = X W^T and dX = dY W for blocks: kBlockStep outputs of a tile of tokens at a time, summed in registers.
// Included by the kernels' sources alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/block_kernels.h"
#include "framework/sparsity/kernels/block_words.h"
#include "framework/sparsity/kernels/token_tile.h"

namespace fern::FERN_SIMD_NAMESPACE {

// Tokens of a tile, whose sums are half of the registers.
inline constexpr int64_t kSumTokens = (kLanes == 16 ? 4 : 2) * kLanes;
static_assert(kBlockTokens % kSumTokens == 0);

constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Weights of this many blocks ahead are asked for, where those of kBlockStep outputs are a part of a block.
inline constexpr int64_t kAhead = 6;

// sum[output][token] of kBlockStep outputs of one block. x is a tile of words of T.
// kBlock is the size of square blocks, or 0 for any.
template <typename T, int64_t kTokens, int64_t kBlock>
[[gnu::noinline]] void sum_outputs(float* sum, const float* x, const BlockRuns& w, int64_t output) {
  constexpr int kVectors = kTokens / kLanes;
  const int64_t block_outputs = kBlock != 0 ? kBlock : w.block_outputs;
  const int64_t block_inputs = kBlock != 0 ? kBlock / kPerWord<T> : w.block_inputs;
  const int64_t run = output / block_outputs, elements = block_outputs * block_inputs;
  const int64_t output_step = w.output_step, input_step = w.input_step;
  const float* words = w.words + output % block_outputs * block_inputs;
  Floats total[kBlockStep][kVectors] = {};
  const int64_t end = w.run_begin[run + 1];
  for (int64_t i = w.run_begin[run]; i < end; ++i) {
    if constexpr (kBlock != kBlockStep) {
      const float* ahead = words + least(i + kAhead, end - 1) * elements;
#pragma GCC unroll 4
      for (int64_t r = 0; r < kBlockStep; ++r) __builtin_prefetch(ahead + r * block_inputs);
    }
    const float* from = x + w.input[i] * block_inputs * kTokens;
    const float* weight = words + i * elements;
#pragma GCC unroll 4
    for (int64_t k = 0; k < block_inputs; ++k, from += kTokens, weight += input_step)
#pragma GCC unroll 4
      for (int64_t r = 0; r < kBlockStep; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v)
          total[r][v] =
              add_product<T>(total[r][v], splat_word(weight + r * output_step), load(from + v * kLanes));
  }
#pragma GCC unroll 4
  for (int64_t r = 0; r < kBlockStep; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(sum + r * kTokens + v * kLanes, total[r][v]);
}

// sum_outputs() for w.
template <typename T, int64_t kTokens>
auto* sum_outputs_for(const BlockRuns& w) {
  if (w.block_outputs == kBlockStep && w.block_inputs == kBlockStep / kPerWord<T>)
    return sum_outputs<T, kTokens, kBlockStep>;
  if (w.block_outputs == 16 && w.block_inputs == 16 / kPerWord<T>) return sum_outputs<T, kTokens, 16>;
  return sum_outputs<T, kTokens, 0>;
}

// Tiles of kTokens tokens, all of them read first. X is what a word of x is read from: T, or a narrower type.
template <typename T, int64_t kTokens, typename Y, typename X>
void product_of_tiles(TokenRows<Y> y, TokenRows<const X> x, const BlockRuns& w, int64_t first, int64_t last,
                      float* room) {
  float *sum = room, *tiles = room + kTokens * kBlockOutputs;
  for (int64_t token = 0; token < x.tokens; token += kTokens)
    read_tile<kTokens>(tiles + token * w.inputs, x.data + token * x.stride, x.stride,
                       least(x.tokens - token, kTokens), w.inputs);
  auto* const sum_four = sum_outputs_for<T, kTokens>(w);
  for (int64_t panel = first; panel < last; panel += kPanelOutputs)
    for (int64_t token = 0; token < x.tokens; token += kTokens)
      for (int64_t group = panel; group < least(panel + kPanelOutputs, last); group += kBlockOutputs) {
        const int64_t outputs = least(last - group, kBlockOutputs);
        for (int64_t output = 0; output < outputs; output += kBlockStep)
          sum_four(sum + output * kTokens, tiles + token * w.inputs, w, group + output);
        write_tile<kTokens>(y.data + token * y.stride + group, y.stride, sum,
                            least(x.tokens - token, kTokens), outputs);
      }
}

template <typename T>
void product(TokenRows<T> y, TokenRows<const T> x, const BlockRuns& w, int64_t first, int64_t last,
             float* room) {
  constexpr int64_t kFewest = least(kFewTokens, kSumTokens);
  if (x.tokens <= kFewest)
    product_of_tiles<float, kFewest>(y, x, w, first, last, room);
  else
    product_of_tiles<float, kSumTokens>(y, x, w, first, last, room);
}

inline void product_of_pairs(TokenRows<BF16> y, TokenRows<const BF16> x, const BlockRuns& w, int64_t first,
                             int64_t last, float* room) {
  const TokenRows<const Pair> x_pairs = {static_cast<const Pair*>(static_cast<const void*>(x.data)),
                                         x.stride / 2, x.tokens};
  product_of_tiles<BF16, kSumTokens>(y, x_pairs, w, first, last, room);
}

// For kBlockStep outputs and inputs at a time: [inputs / 2][outputs] pairs of neighbouring inputs.
inline void pack_pairs(float* pairs_of_blocks, const BlockRuns& w, const uint32_t* order, int64_t first,
                       int64_t last) {
  const int64_t elements = w.block_outputs * w.block_inputs;
  float* to = pairs_of_blocks + first * elements / 2;
  for (int64_t at = first; at < last; ++at) {
    const float* block = w.words + (order != nullptr ? order[at] : at) * elements;
    for (int64_t output = 0; output < w.block_outputs; output += kBlockStep)
      for (int64_t input = 0; input < w.block_inputs; input += kBlockStep, to += 2 * kBlockStep) {
        const float* from = block + output * w.output_step + input * w.input_step;
        const int64_t row_step = w.input_step == 1 ? w.output_step : w.input_step;
        Quad row[4];
        for (int64_t i = 0; i < 4; ++i) row[i] = load_quad(from + i * row_step);
        if (w.input_step == 1) transpose_quads(row);
        store_quad(to, pairs(rounded_to_bf16(row[0]), rounded_to_bf16(row[1])));
        store_quad(to + kBlockStep, pairs(rounded_to_bf16(row[2]), rounded_to_bf16(row[3])));
      }
  }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
