// Activations of a few neighbouring tokens turned over, feature by feature: a weight meets them as vectors of
// tokens. A tile of F features is f32 [F][kTokens], 64-byte aligned; tokens that do not exist are zero.
// Included by the kernels' sources alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/vector.h"

namespace fern::FERN_SIMD_NAMESPACE {

// A tile in use, and one for so few tokens that most of it would be padding (both multiples of any kLanes).
inline constexpr int64_t kTileTokens = 64, kFewTokens = 16;

// to[column][row] = from[row][column] for a full square.
template <typename To, typename From>
inline void turn_square(To* to, int64_t to_stride, const From* from, int64_t from_stride) {
  Floats row[kLanes];
  load_transposed(row, from, from_stride);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) store(to + i * to_stride, row[i]);
}

// The same where only `rows` x `columns` of `from` exist: `columns` rows of `to` are written, `width` values
// of each, which are zero after the last.
template <typename To, typename From>
[[gnu::noinline]] void turn_part(To* to, int64_t to_stride, const From* from, int64_t from_stride,
                                 int64_t rows, int64_t columns, int64_t width) {
  Floats row[kLanes] = {};
  for (int i = 0; i < rows; ++i)
    row[i] = columns == kLanes ? load(from + i * from_stride) : load_some(from + i * from_stride, columns);
  if (rows > 0) transpose(row);
  for (int i = 0; i < columns; ++i)
    if (width == kLanes)
      store(to + i * to_stride, row[i]);
    else
      store_some(to + i * to_stride, row[i], width);
}

// Of `count` that are left; none where that is negative.
inline int64_t lanes_of(int64_t count) { return count < kLanes ? count : kLanes; }

// tile[feature][token] = x[token * stride + feature]. REQUIRES: tokens <= kTokens.
template <int64_t kTokens, typename T>
void read_tile(float* tile, const T* x, int64_t stride, int64_t tokens, int64_t features) {
  for (int64_t t = 0; t < kTokens; t += kLanes)
    for (int64_t f = 0; f < features; f += kLanes) {
      const int64_t high = lanes_of(tokens - t), wide = lanes_of(features - f);
      if (high == kLanes && wide == kLanes)
        turn_square(tile + f * kTokens + t, kTokens, x + t * stride + f, stride);
      else
        turn_part(tile + f * kTokens + t, kTokens, x + t * stride + f, stride, high, wide, kLanes);
    }
}

// y[token * stride + feature] = tile[feature][token] for the tokens that exist. REQUIRES: as above.
template <int64_t kTokens, typename T>
void write_tile(T* y, int64_t stride, const float* tile, int64_t tokens, int64_t features) {
  for (int64_t t = 0; t < tokens; t += kLanes)
    for (int64_t f = 0; f < features; f += kLanes) {
      const int64_t high = lanes_of(tokens - t), wide = lanes_of(features - f);
      if (high == kLanes && wide == kLanes)
        turn_square(y + t * stride + f, stride, tile + f * kTokens + t, kTokens);
      else
        turn_part(y + t * stride + f, stride, tile + f * kTokens + t, kTokens, wide, high, wide);
    }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
