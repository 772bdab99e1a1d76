// dW = dY^T X for blocks. Both activations are cut into strips of kBlockStep features: a vector holds them
// for a few tokens, so that what a block's gradient needs lies together and few lanes are summed at the end.
// Included by the kernels' sources alone (vector.h).
#pragma once

#include <type_traits>

#include "framework/sparsity/kernels/block_kernels.h"
#include "framework/sparsity/kernels/block_words.h"
#include "framework/sparsity/kernels/token_tile.h"

namespace fern::FERN_SIMD_NAMESPACE {

// Strips of x that are multiplied with one of dy at once. In f32 three of them, their sums and a row of dy
// are 16 registers.
inline constexpr int kMostStrips = kLanes == 16 ? 4 : 3;

// Activations of this many tokens further are asked for: neighbouring tokens lie too far apart for the
// processor to foresee. To the second cache: lines of tokens a power of two apart would oust each other from
// the first.
inline constexpr int64_t kTokensAhead = 16;

// One word of each of kBlockStep features, from kPerWord tokens of which `tokens` exist.
inline Quad words_of_tokens(const float* from, int64_t, int64_t tokens) {
  return tokens > 0 ? load_quad(from) : Quad{};
}
inline Quad words_of_tokens(const BF16* from, int64_t stride, int64_t tokens) {
  typedef uint16_t QuadHalves __attribute__((vector_size(8)));
  QuadHalves first = {}, second = {};
  if (tokens > 0) __builtin_memcpy(&first, from, sizeof(first));
  if (tokens > 1) __builtin_memcpy(&second, from + stride, sizeof(second));
  return pairs(__builtin_convertvector(first, QuadWords), __builtin_convertvector(second, QuadWords));
}

// kStripStep tokens of kLanes features from `x` on into as many strips as a vector has fours of features.
// REQUIRES: kLanes >= 2 * kBlockStep.
template <typename T>
void fill_square(float* strips, const T* x, int64_t stride, int64_t capacity) {
  constexpr int64_t kStrips = kLanes / kBlockStep;
  Floats row[kStripStep];
#pragma GCC unroll 4
  for (int64_t i = 0; i < kStripStep; ++i) {
    row[i] = load(x + i * stride);
    __builtin_prefetch(x + (i + kTokensAhead) * stride, /*write=*/0, /*second cache=*/2);
  }
  swap_quarters<4>(row[0], row[1]), swap_quarters<4>(row[2], row[3]);
  if constexpr (kStrips == 4) swap_quarters<8>(row[0], row[2]), swap_quarters<8>(row[1], row[3]);
#pragma GCC unroll 4
  for (int64_t i = 0; i < kStripStep; ++i)
    store(strips + i % kStrips * kBlockStep * capacity + i / kStrips * kLanes, row[i]);
}

// The tokens of a line of the cache together, so that it is written whole.
template <typename T>
void fill_strips(float* strips, TokenRows<const T> x, int64_t features, int64_t first, int64_t last,
                 int64_t capacity) {
  for (int64_t word = first; word < last; word += kStripStep) {
    int64_t f = 0;
    if constexpr (std::is_same_v<T, float> && kLanes >= 2 * kBlockStep)
      if (word + kStripStep <= x.tokens)
        for (; f + kLanes <= features; f += kLanes)
          fill_square(strips + f * capacity + word * kBlockStep, x.data + word * x.stride + f, x.stride,
                      capacity);
    for (; f < features; f += kBlockStep)
#pragma GCC unroll 4
      for (int64_t i = 0; i < kStripStep; ++i) {
        const int64_t token = (word + i) * kPerWord<T>;
        store_quad(strips + f * capacity + (word + i) * kBlockStep,
                   words_of_tokens(x.data + token * x.stride + f, x.stride, x.tokens - token));
      }
  }
}

// The sum of every fourth lane.
inline Quad sum_of_fours(Floats vector) {
  Quad quads[kLanes / 4];
  __builtin_memcpy(quads, &vector, sizeof(vector));
  if constexpr (kLanes == 16) return (quads[0] + quads[1]) + (quads[2] + quads[3]);
  if constexpr (kLanes == 8) return quads[0] + quads[1];
  return quads[0];
}

// A strip of x, and where the first row of its gradients lies.
struct StripGradient {
  const float* x;
  float* to;
};

// to[r * row_step + k] += sum over tokens of dy[r] x[k], for a strip of dy and kStrips of x at once. A lane
// keeps the sum of every kLanes / 4th word.
template <typename T, int kStrips>
[[gnu::noinline]] void add_strips(const float* dy, const StripGradient* strips, int64_t row_step,
                                  int64_t capacity) {
  Floats total[kStrips][kBlockStep] = {};
  for (int64_t at = 0; at < capacity * kBlockStep; at += kLanes) {
    const Floats four = load(dy + at);
    Floats column[kStrips];
#pragma GCC unroll 4
    for (int s = 0; s < kStrips; ++s) column[s] = in_register(load(strips[s].x + at));
    const auto add_row = [&](Floats row, int r) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int s = 0; s < kStrips; ++s) total[s][r] = add_product<T>(total[s][r], row, column[s]);
    };
    add_row(splat_of_four<0>(four), 0), add_row(splat_of_four<1>(four), 1);
    add_row(splat_of_four<2>(four), 2), add_row(splat_of_four<3>(four), 3);
  }
#pragma GCC unroll 4
  for (int s = 0; s < kStrips; ++s)
#pragma GCC unroll 4
    for (int64_t r = 0; r < kBlockStep; ++r) {
      float* to = strips[s].to + r * row_step;
      store_quad(to, load_quad(to) + sum_of_fours(total[s][r]));
    }
}

// The same for `count` strips, at most kMost.
template <typename T, int kMost = kMostStrips>
void add_some_strips(const float* dy, const StripGradient* strips, int count, int64_t row_step,
                     int64_t capacity) {
  if (count == kMost) return add_strips<T, kMost>(dy, strips, row_step, capacity);
  if constexpr (kMost > 1) add_some_strips<T, kMost - 1>(dy, strips, count, row_step, capacity);
}

template <typename T>
void add_gradient(float* dvalues, const float* dy, const float* x, const BlockRuns& runs, int64_t first,
                  int64_t last, int64_t capacity) {
  const int64_t columns = runs.block_inputs, elements = runs.block_outputs * columns;
  for (int64_t output = first; output < last; output += kBlockStep, dy += kBlockStep * capacity) {
    const int64_t run = output / runs.block_outputs, row = output % runs.block_outputs;
    StripGradient strips[kMostStrips];
    int count = 0;
    for (int64_t i = runs.run_begin[run]; i < runs.run_begin[run + 1]; ++i)
      for (int64_t column = 0; column < columns; column += kBlockStep) {
        strips[count++] = {x + (runs.input[i] * columns + column) * capacity,
                           dvalues + i * elements + row * columns + column};
        if (count < kMostStrips) continue;
        add_strips<T, kMostStrips>(dy, strips, columns, capacity);
        count = 0;
      }
    add_some_strips<T>(dy, strips, count, columns, capacity);
  }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
