// dW of the weights that exist: for each, the product of a row of dY and a row of X over tokens. Included by
// csr_kernels.cc alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/csr_runs.h"
#include "framework/sparsity/kernels/token_tile.h"

namespace fern::FERN_SIMD_NAMESPACE {

// Weights of one run whose sums are made at once: each vector of dY is loaded once for all of them, and their
// lanes are summed together.
inline constexpr int kSumsAtOnce = 8;

// Rows of a tile, and their product.
struct WideGradient {
  using Element = float;
  using Vector = Floats;
  static constexpr int64_t kTokens = 8 * kLanes, kStep = kLanes;

  static Vector load(const float* from) { return FERN_SIMD_NAMESPACE::load(from); }
  static Floats add(Floats sum, Vector a, Vector b) { return sum + a * b; }
};

// dvalues[i] += dy . x[index[i] - first_input] for kCount weights.
template <int kCount, typename Gradient>
inline void add_gradients(float* dvalues, const typename Gradient::Element* dy,
                          const typename Gradient::Element* x, int64_t first_input, const uint16_t* index) {
  const typename Gradient::Element* row[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) row[i] = in_register(x + (index[i] - first_input) * Gradient::kTokens);
  Floats sum[kSumsAtOnce] = {};
#pragma GCC unroll 8
  for (int64_t t = 0; t < Gradient::kTokens; t += Gradient::kStep) {
    const auto vector = Gradient::load(dy + t);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) sum[i] = Gradient::add(sum[i], vector, Gradient::load(row[i] + t));
  }
  add_lane_sums<kCount>(dvalues, sum);
}

// The same for `count` weights, at most kSumsAtOnce.
template <typename Gradient, int kCount = kSumsAtOnce>
inline void add_last_gradients(float* dvalues, const typename Gradient::Element* dy,
                               const typename Gradient::Element* x, int64_t first_input,
                               const uint16_t* index, uint32_t count) {
  if (count == kCount) return add_gradients<kCount, Gradient>(dvalues, dy, x, first_input, index);
  if constexpr (kCount > 1)
    add_last_gradients<Gradient, kCount - 1>(dvalues, dy, x, first_input, index, count);
}

// dvalues += dY^T X for the tokens of one tile (csr_kernels.h).
template <typename Gradient>
void add_gradient_of_tile(float* dvalues, const void* dy_tile, const void* x_tile, const CsrRuns& w,
                          int64_t group, CsrRange bands) {
  using Element = typename Gradient::Element;
  const auto *dy = static_cast<const Element*>(dy_tile), *x = static_cast<const Element*>(x_tile);
  for (int64_t band = bands.first; band < bands.last; ++band) {
    const int64_t cell = group * w.bands + band, first_input = bands.first * w.band_inputs - w.origin[band];
    const CsrRun *run = w.runs + w.first_run[cell], *last = w.runs + w.first_run[cell + 1];
    float* to = dvalues + w.first_weight[cell];
    const uint16_t* index = w.index + w.first_weight[cell];
    for (; run != last; ++run) {
      const Element* row = dy + run->output * Gradient::kTokens;
      uint32_t left = run->count;
      for (; left > kSumsAtOnce; left -= kSumsAtOnce, to += kSumsAtOnce, index += kSumsAtOnce)
        add_gradients<kSumsAtOnce, Gradient>(to, row, x, first_input, index);
      add_last_gradients<Gradient>(to, row, x, first_input, index, left);
      to += left, index += left;
    }
  }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
