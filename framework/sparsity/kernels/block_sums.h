// Y = X W^T and dX = dY W for blocks: kBlockStep outputs of a tile of tokens at a time, summed in registers.
// Included by the kernels' sources alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/block_kernels.h"
#include "framework/sparsity/kernels/block_words.h"
#include "framework/sparsity/kernels/token_tile.h"

namespace fern::FERN_SIMD_NAMESPACE {

// Half of the registers hold sums.
inline constexpr int kMostSumVectors = kLanes == 16 ? 4 : 2;

// Weights of this many blocks ahead are asked for: rows of a block, or blocks of a column, lie apart.
inline constexpr int64_t kAhead = 6;

// Tokens whose sums are made at once: they lie together for all features, as one strip of a tile.
inline constexpr int64_t kMostStripTokens = kMostSumVectors * kLanes;
template <int64_t kTokens>
inline constexpr int64_t kStripTokens = kTokens < kMostStripTokens ? kTokens : kMostStripTokens;

// sum[output][token] of kBlockStep outputs of one block, for the tokens of one strip. x is a strip of words
// of T, sum a tile of kTokens. kBlock is the size of square blocks, or 0 for any.
template <typename T, int64_t kTokens, int64_t kBlock>
[[gnu::noinline]] void sum_outputs(float* sum, const float* x, const BlockRuns& w, int64_t output) {
  constexpr int64_t kStrip = kStripTokens<kTokens>;
  constexpr int kVectors = kStrip / kLanes;
  const int64_t block_outputs = kBlock != 0 ? kBlock : w.block_outputs;
  const int64_t block_inputs = kBlock != 0 ? kBlock / kPerWord<T> : w.block_inputs;
  const int64_t run = output / block_outputs, elements = block_outputs * block_inputs;
  const int64_t output_step = w.output_step, input_step = w.input_step;
  const float* words = w.words + output % block_outputs / kBlockStep * w.group_step;
  const uint16_t* input = w.input;
  const uint32_t* block = w.block;
  Floats total[kBlockStep][kVectors] = {};
  const int64_t end = w.run_begin[run + 1];
  for (int64_t i = w.run_begin[run]; i < end; ++i) {
    if (i + kAhead < end) {
      const float* ahead = words + (block != nullptr ? block[i + kAhead] : i + kAhead) * elements;
#pragma GCC unroll 4
      for (int64_t r = 0; r < (kBlock == kBlockStep ? 1 : kBlockStep); ++r)
        __builtin_prefetch(ahead + r * output_step);
    }
    const float* from = x + input[i] * block_inputs * kStrip;
    const float* weight = words + (block != nullptr ? block[i] : i) * elements;
#pragma GCC unroll 4
    for (int64_t k = 0; k < block_inputs; ++k, from += kStrip, weight += input_step)
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

// Outputs [first, last) of y, from the strips of a tile of x.
template <typename T, int64_t kTokens, int64_t kBlock, typename Y>
void write_outputs(TokenRows<Y> y, const float* x, const BlockRuns& w, int64_t first, int64_t last,
                   float* sum) {
  for (int64_t group = first; group < last; group += kBlockOutputs) {
    const int64_t end = group + kBlockOutputs < last ? group + kBlockOutputs : last;
    for (int64_t token = 0; token < kTokens; token += kStripTokens<kTokens>)
      for (int64_t output = group; output < end; output += kBlockStep)
        sum_outputs<T, kTokens, kBlock>(sum + (output - group) * kTokens + token, x + token * w.inputs, w,
                                        output);
    write_tile<kTokens>(y.data + group, y.stride, sum, y.tokens, end - group);
  }
}

// X is what a word of x is read from: T, or a narrower type.
template <typename T, int64_t kTokens, typename Y, typename X>
void product_of_tile(TokenRows<Y> y, TokenRows<const X> x, const BlockRuns& w, int64_t first, int64_t last,
                     float* room) {
  constexpr int64_t kStrip = kStripTokens<kTokens>;
  float* sum = room + w.inputs * kTokens;
  for (int64_t token = 0; token < kTokens; token += kStrip)
    read_tile<kStrip>(room + token * w.inputs, x.data + token * x.stride, x.stride,
                      x.tokens > token ? x.tokens - token : 0, w.inputs);
  if (w.block_outputs == kBlockStep && w.block_inputs == kBlockStep / kPerWord<T>)
    write_outputs<T, kTokens, kBlockStep>(y, room, w, first, last, sum);
  else if (w.block_outputs == 16 && w.block_inputs == 16 / kPerWord<T>)
    write_outputs<T, kTokens, 16>(y, room, w, first, last, sum);
  else
    write_outputs<T, kTokens, 0>(y, room, w, first, last, sum);
}

template <typename T>
void product(TokenRows<T> y, TokenRows<const T> x, const BlockRuns& w, int64_t first, int64_t last,
             float* room) {
  if (x.tokens <= kFewTokens)
    product_of_tile<float, kFewTokens>(y, x, w, first, last, room);
  else
    product_of_tile<float, kTileTokens>(y, x, w, first, last, room);
}

inline void product_of_pairs(TokenRows<BF16> y, TokenRows<const BF16> x, const BlockRuns& w, int64_t first,
                             int64_t last, float* room) {
  const TokenRows<const Pair> x_pairs = {static_cast<const Pair*>(static_cast<const void*>(x.data)),
                                         x.stride / 2, x.tokens};
  product_of_tile<BF16, kTileTokens>(y, x_pairs, w, first, last, room);
}

// For kBlockStep outputs and inputs at a time: [inputs / 2][outputs] pairs of neighbouring inputs.
inline void pack_pairs(float* pairs_of_blocks, const BlockRuns& w, int64_t first, int64_t last) {
  const int64_t elements = w.block_outputs * w.block_inputs;
  float* to = pairs_of_blocks + first * elements / 2;
  for (int64_t block = first; block < last; ++block)
    for (int64_t output = 0; output < w.block_outputs; output += kBlockStep)
      for (int64_t input = 0; input < w.block_inputs; input += kBlockStep, to += 2 * kBlockStep) {
        const float* from = w.words + block * elements + output * w.output_step + input * w.input_step;
        const int64_t row_step = w.input_step == 1 ? w.output_step : w.input_step;
        Quad row[4];
        for (int64_t i = 0; i < 4; ++i) row[i] = load_quad(from + i * row_step);
        if (w.input_step == 1) transpose_quads(row);
        store_quad(to, pairs(rounded_to_bf16(row[0]), rounded_to_bf16(row[1])));
        store_quad(to + kBlockStep, pairs(rounded_to_bf16(row[2]), rounded_to_bf16(row[3])));
      }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
