// dW of the weights that exist: for each, the product of a row of dY and a row of X over tokens. Included by
// csr_kernels.cc alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/csr_runs.h"
#include "framework/sparsity/kernels/token_tile.h"

namespace fern::FERN_SIMD_NAMESPACE {

// Sums over lanes are made for this many weights at once.
inline constexpr int kGroup = kLanes == 16 ? 8 : 4;

// A row of dY, in registers while its weights pass by.
struct WideGradient {
  using Element = float;
  static constexpr int kVectors = 8;
  static constexpr int64_t kTokens = kVectors * kLanes;
  Floats dy[kVectors];

  explicit WideGradient(const float* from) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) dy[v] = load(from + v * kLanes);
  }
  // The products with a row of X, summed but for the lanes.
  Floats times(const float* x) const {
    Floats sum = dy[0] * load(x);
#pragma GCC unroll 8
    for (int v = 1; v < kVectors; ++v) sum += dy[v] * load(x + v * kLanes);
    return sum;
  }
};

template <int kCount, typename Gradient>
inline void add_gradients(float* dvalues, const Gradient& dy, const typename Gradient::Element* x,
                          int64_t first_input, const uint16_t* index) {
  Floats sum[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) sum[i] = dy.times(x + (index[i] - first_input) * Gradient::kTokens);
  float total[kLanes];
  store(total, lane_sums<kCount>(sum));
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) dvalues[i] += total[i];
}

// The rest of a run, of fewer than 2 * kCount weights.
template <int kCount, typename Gradient>
inline void add_last_gradients(float* dvalues, const Gradient& dy, const typename Gradient::Element* x,
                               int64_t first_input, const uint16_t* index, uint32_t count) {
  if ((count & kCount) != 0) {
    add_gradients<kCount>(dvalues, dy, x, first_input, index);
    dvalues += kCount, index += kCount;
  }
  if constexpr (kCount > 1) add_last_gradients<kCount / 2>(dvalues, dy, x, first_input, index, count);
}

// dvalues += dY^T X for the tokens of one tile (csr_kernels.h).
template <typename Gradient>
void add_gradient_of_tile(float* dvalues, const void* dy_tile, const void* x_tile, const CsrRuns& w,
                          CsrRange outputs, CsrRange bands) {
  using Element = typename Gradient::Element;
  const auto* x = static_cast<const Element*>(x_tile);
  const int64_t first_input = bands.first * w.band_inputs;
  for (int64_t band = bands.first; band < bands.last; ++band) {
    const auto* dy = static_cast<const Element*>(dy_tile);
    for (int64_t output = outputs.first; output < outputs.last; ++output, dy += Gradient::kTokens) {
      const uint32_t* ends = w.run_begin + output * w.output_step + band * w.band_step;
      fetch_ahead(w, ends, dvalues);
      uint32_t i = ends[0];
      const uint32_t end = ends[1];
      if (i == end) continue;
      const Gradient row(dy);
      for (; i + kGroup <= end; i += kGroup)
        add_gradients<kGroup>(dvalues + i, row, x, first_input, w.index + i);
      add_last_gradients<kGroup / 2>(dvalues + i, row, x, first_input, w.index + i, end - i);
    }
  }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
