// dW of the weights that exist: for each, the product of a row of dY and a row of X over tokens. Included by
// csr_kernels.cc alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/csr_kernels.h"
#include "framework/sparsity/kernels/token_tile.h"

namespace fern::FERN_SIMD_NAMESPACE {

// A row of dY for this many vectors of tokens stays in registers while its weights pass by; their sums over
// lanes are made kGroup at a time.
inline constexpr int kGradientVectors = 8, kGroup = kLanes == 16 ? 8 : 4;
inline constexpr int64_t kGradientTokens = kGradientVectors * kLanes;

template <int kCount>
inline void add_gradients(float* dvalues, const Floats (&dy)[kGradientVectors], const float* x,
                          const uint16_t* index) {
  Floats sum[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    const float* from = x + index[i] * kGradientTokens;
    sum[i] = dy[0] * load(from);
#pragma GCC unroll 8
    for (int v = 1; v < kGradientVectors; ++v) sum[i] += dy[v] * load(from + v * kLanes);
  }
  const Floats total = lane_sums<kCount>(sum);
  float old[kCount], add[kLanes];
  __builtin_memcpy(old, dvalues, sizeof(old));
  store(add, total);
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) old[i] += add[i];
  __builtin_memcpy(dvalues, old, sizeof(old));
}

// The rest of a run, of fewer than 2 * kCount weights.
template <int kCount>
inline void add_last_gradients(float* dvalues, const Floats (&dy)[kGradientVectors], const float* x,
                               const uint16_t* index, uint32_t count) {
  if ((count & kCount) != 0) {
    add_gradients<kCount>(dvalues, dy, x, index);
    dvalues += kCount, index += kCount;
  }
  if constexpr (kCount > 1) add_last_gradients<kCount / 2>(dvalues, dy, x, index, count);
}

// dvalues += dY^T X for outputs [first, last) and the tokens of one tile; dy and x are tiles of
// kGradientTokens.
[[gnu::noinline]] inline void add_gradient_of_tile(float* dvalues, const float* dy, const float* x,
                                                   const CsrRuns& w, int64_t first, int64_t last) {
  for (int64_t band = 0; band < w.bands; ++band) {
    const uint32_t* run = w.run_begin + band * w.band_step;
    const float* x_band = x + w.origin[band] * kGradientTokens;
    for (int64_t output = first; output < last; ++output) {
      const uint32_t* ends = run + output * w.output_step;
      uint32_t i = ends[0];
      const uint32_t end = ends[1];
      if (i == end) continue;
      Floats row[kGradientVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kGradientVectors; ++v) row[v] = load(dy + output * kGradientTokens + v * kLanes);
      for (; i + kGroup <= end; i += kGroup) add_gradients<kGroup>(dvalues + i, row, x_band, w.index + i);
      add_last_gradients<kGroup / 2>(dvalues + i, row, x_band, w.index + i, end - i);
    }
  }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
