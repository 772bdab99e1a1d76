// Activations of a few neighbouring tokens turned over, feature by feature: a weight meets them as vectors of
// tokens. A tile of F features is f32 [F][kTokens], 64-byte aligned; tokens that do not exist are zero.
// Included by the kernels' sources alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/vector.h"

namespace fern::FERN_SIMD_NAMESPACE {

// A tile in use, and one for so few tokens that most of it would be padding (both multiples of any kLanes).
inline constexpr int64_t kTileTokens = 64, kFewTokens = 16;

// tile[feature][token] = x[token * stride + feature]. REQUIRES: tokens <= kTokens.
template <int64_t kTokens, typename T>
void read_tile(float* tile, const T* x, int64_t stride, int64_t tokens, int64_t features) {
  for (int64_t t = 0; t < kTokens; t += kLanes)
    for (int64_t f = 0; f < features; f += kLanes) {
      const int64_t wide = features - f < kLanes ? features - f : kLanes;
      const T* from = x + t * stride + f;
      Floats square[kLanes];
      if (wide == kLanes && t + kLanes <= tokens) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) square[i] = load(from + i * stride);
      } else {
        for (int i = 0; i < kLanes; ++i)
          square[i] = t + i < tokens ? load_some(from + i * stride, wide) : Floats{};
      }
      transpose(square);
      float* to = tile + f * kTokens + t;
      if (wide == kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) store(to + i * kTokens, square[i]);
      } else {
        for (int i = 0; i < wide; ++i) store(to + i * kTokens, square[i]);
      }
    }
}

// y[token * stride + feature] = tile[feature][token] for the tokens that exist. REQUIRES: as above.
template <int64_t kTokens, typename T>
void write_tile(T* y, int64_t stride, const float* tile, int64_t tokens, int64_t features) {
  for (int64_t t = 0; t < tokens; t += kLanes)
    for (int64_t f = 0; f < features; f += kLanes) {
      const int64_t wide = features - f < kLanes ? features - f : kLanes;
      const int64_t high = tokens - t < kLanes ? tokens - t : kLanes;
      const float* from = tile + f * kTokens + t;
      Floats square[kLanes];
      for (int i = 0; i < kLanes; ++i) square[i] = i < wide ? load(from + i * kTokens) : Floats{};
      transpose(square);
      T* to = y + t * stride + f;
      if (wide == kLanes && high == kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) store(to + i * stride, square[i]);
      } else {
        for (int i = 0; i < high; ++i) store_some(to + i * stride, square[i], wide);
      }
    }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
