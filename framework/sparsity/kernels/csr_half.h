// The unstructured products of bf16 activations on processors that multiply pairs of bf16 with f32 sums.
// Weights are rounded. Included by csr_kernels.cc alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/csr_runs.h"
#include "framework/sparsity/kernels/half_tile.h"
#include "framework/sparsity/kernels/token_tile.h"

namespace fern::FERN_SIMD_NAMESPACE {

// A product's tile, and the gradient's: as many as leave registers for the sums.
inline constexpr int64_t kHalfTokens = 128, kHalfGradientTokens = 256;

inline __m512 multiply_pairs(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

// sum[output][token] (+)= the runs of one band. Two weights at a time: their features are unpacked into pairs
// and meet the pair of weights.
template <int64_t kTokens>
[[gnu::noinline]] void add_half_band(float* sum, const BF16* x, const CsrRuns& w, int64_t band, int64_t first,
                                     int64_t last) {
  constexpr int kVectors = kTokens / kLanes;
  const uint32_t* run = w.run_begin + band * w.band_step;
  const BF16* weights = w.rounded;
  const uint16_t* index = w.index;
  x += w.origin[band] * kTokens;
  for (int64_t output = first; output < last; ++output, sum += kTokens) {
    Floats total[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) total[v] = band == 0 ? Floats{} : load(sum + v * kLanes);
    const auto add = [&](const BF16* a, __m512i scale, auto&& load_b) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v += 2) {
        const __m512i first_of_pair = load_half(a + v * kLanes), second = load_b(v * kLanes);
        total[v] = multiply_pairs(total[v], _mm512_unpacklo_epi16(first_of_pair, second), scale);
        total[v + 1] = multiply_pairs(total[v + 1], _mm512_unpackhi_epi16(first_of_pair, second), scale);
      }
    };
    const uint32_t* ends = run + output * w.output_step;
    fetch_ahead(w, ends, weights);
    const uint32_t end = ends[1];
    uint32_t i = ends[0];
    for (; i + 2 <= end; i += 2) {
      int32_t pair;
      __builtin_memcpy(&pair, weights + i, sizeof(pair));
      const BF16* b = x + index[i + 1] * kTokens;
      add(x + index[i] * kTokens, _mm512_set1_epi32(pair), [&](int at) { return load_half(b + at); });
    }
    if (i < end)
      add(x + index[i] * kTokens, _mm512_set1_epi32(weights[i].bits),
          [](int) { return _mm512_setzero_si512(); });
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(sum + v * kLanes, total[v]);
  }
}

template <int64_t kTokens>
void half_product_of_tile(TokenRows<BF16> y, TokenRows<const BF16> x, const CsrRuns& w, int64_t first,
                          int64_t last, const CsrRoom& room) {
  constexpr int64_t kGroup = kCsrOutputs * kTileTokens / kTokens;
  auto* tile = static_cast<BF16*>(room.tile);
  auto* sums = static_cast<float*>(room.sums);
  read_half_tile<kTokens>(tile, x.data, x.stride, x.tokens, w.inputs);
  for (int64_t group = first; group < last; group += kGroup) {
    const int64_t end = group + kGroup < last ? group + kGroup : last;
    for (int64_t band = 0; band < w.bands; ++band) add_half_band<kTokens>(sums, tile, w, band, group, end);
    write_tile<kTokens>(y.data + group, y.stride, sums, y.tokens, end - group);
  }
}

inline void half_product(TokenRows<BF16> y, TokenRows<const BF16> x, const CsrRuns& w, int64_t first,
                         int64_t last, const CsrRoom& room) {
  if (x.tokens <= kHalfLanes)
    half_product_of_tile<kHalfLanes>(y, x, w, first, last, room);
  else
    half_product_of_tile<kHalfTokens>(y, x, w, first, last, room);
}

inline void read_half_gradient_tile(void* tile, TokenRows<const BF16> x, int64_t features) {
  read_half_tile<kHalfGradientTokens>(static_cast<BF16*>(tile), x.data, x.stride, x.tokens, features);
}

// A row of dY in registers, as csr_gradient.h has it for f32.
struct HalfGradient {
  using Element = BF16;
  static constexpr int64_t kTokens = kHalfGradientTokens;
  __m512i dy[kTokens / kHalfLanes];

  explicit HalfGradient(const BF16* from) {
#pragma GCC unroll 8
    for (int v = 0; v < kTokens / kHalfLanes; ++v) dy[v] = load_half(from + v * kHalfLanes);
  }
  Floats times(const BF16* x) const {
    __m512 sum = _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int v = 0; v < kTokens / kHalfLanes; ++v)
      sum = multiply_pairs(sum, dy[v], load_half(x + v * kHalfLanes));
    return sum;
  }
};

}  // namespace fern::FERN_SIMD_NAMESPACE
