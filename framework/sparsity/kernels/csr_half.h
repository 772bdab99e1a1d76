// The unstructured products of bf16 activations on processors that multiply pairs of bf16 with f32 sums.
// Weights are rounded. Included by csr_kernels.cc alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/csr_runs.h"
#include "framework/sparsity/kernels/half_tile.h"
#include "framework/sparsity/kernels/token_tile.h"

namespace fern::FERN_SIMD_NAMESPACE {

// A product's tile, of as many as leave registers for the sums, and the gradient's, in bytes as long as
// f32's.
inline constexpr int64_t kHalfTokens = 128, kHalfGradientTokens = 256;

inline __m512 multiply_pairs(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

// sums[output][token] (+)= the runs of one cell. Two weights at a time: their features are unpacked into
// pairs and meet the pair of weights.
template <int64_t kTokens>
[[gnu::noinline]] void add_half_cell(float* sums, const BF16* x, const CsrRuns& w, int64_t cell,
                                     bool is_first) {
  constexpr int kVectors = kTokens / kLanes;
  for_each_run(
      w, cell, w.rounded, [&](const CsrRun& run, uint32_t begin) __attribute__((always_inline)) {
        float* sum = sums + run.output * kTokens;
        Floats total[kVectors];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) total[v] = is_first ? Floats{} : load(sum + v * kLanes);
        const auto add = [&](const BF16* a, __m512i scale, auto&& load_b) __attribute__((always_inline)) {
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; v += 2) {
            const __m512i first_of_pair = load_half(a + v * kLanes), second = load_b(v * kLanes);
            total[v] = multiply_pairs(total[v], _mm512_unpacklo_epi16(first_of_pair, second), scale);
            total[v + 1] = multiply_pairs(total[v + 1], _mm512_unpackhi_epi16(first_of_pair, second), scale);
          }
        };
        const BF16* weight = w.rounded + begin;
        const uint16_t* index = w.index + begin;
        const BF16* end = weight + run.count;
        for (; weight + 2 <= end; weight += 2, index += 2) {
          int32_t pair;
          __builtin_memcpy(&pair, weight, sizeof(pair));
          const BF16* b = in_register(x + index[1] * kTokens);
          add(in_register(x + index[0] * kTokens), _mm512_set1_epi32(pair),
              [&](int at) { return load_half(b + at); });
        }
        if (weight < end)
          add(x + *index * kTokens, _mm512_set1_epi32(weight->bits),
              [](int) { return _mm512_setzero_si512(); });
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) store(sum + v * kLanes, total[v]);
      });
}

template <int64_t kTokens>
void half_product_of_tile(TokenRows<BF16> y, TokenRows<const BF16> x, const CsrRuns& w, CsrRange groups,
                          const CsrRoom& room) {
  static_assert(kTokens <= kCsrTokens);
  auto* tile = static_cast<BF16*>(room.tile);
  auto* sums = static_cast<float*>(room.sums);
  read_half_tile<kTokens>(tile, x.data, x.stride, x.tokens, w.inputs);
  for (int64_t group = groups.first; group < groups.last; ++group) {
    for (int64_t band = 0; band < w.bands; ++band)
      add_half_cell<kTokens>(sums, tile + w.origin[band] * kTokens, w, group * w.bands + band, band == 0);
    write_tile<kTokens>(y.data + group * w.group_outputs, y.stride, sums, y.tokens, outputs_of(w, group));
  }
}

inline void half_product(TokenRows<BF16> y, TokenRows<const BF16> x, const CsrRuns& w, CsrRange groups,
                         const CsrRoom& room) {
  if (x.tokens <= kHalfLanes)
    half_product_of_tile<kHalfLanes>(y, x, w, groups, room);
  else
    half_product_of_tile<kHalfTokens>(y, x, w, groups, room);
}

inline void read_half_gradient_tile(void* tile, TokenRows<const BF16> x, int64_t features) {
  read_half_tile<kHalfGradientTokens>(static_cast<BF16*>(tile), x.data, x.stride, x.tokens, features);
}

// Rows of pairs, as csr_gradient.h has them of f32.
struct HalfGradient {
  using Element = BF16;
  using Vector = __m512i;
  static constexpr int64_t kTokens = kHalfGradientTokens, kStep = kHalfLanes;

  static Vector load(const BF16* from) { return load_half(from); }
  static Floats add(Floats sum, Vector a, Vector b) { return multiply_pairs(sum, a, b); }
};

}  // namespace fern::FERN_SIMD_NAMESPACE
