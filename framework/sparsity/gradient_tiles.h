// Both activations of a chunk of tokens, turned over by all threads together, which then share the rows of
// dW. Private to csr_product.cc.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstddef>

#include "framework/ops/scratch.h"
#include "framework/sparsity/kernels/csr_kernels.h"

namespace fern {

template <typename T>
class GradientTiles {
 public:
  // Tokens of a chunk.
  static constexpr int64_t kTokens = 256;

  // To be made by the thread that starts the others.
  GradientTiles(int64_t outputs, int64_t inputs)
      : dy_{outputs, whole(outputs) * kernels_.gradient_bytes, nullptr},
        x_{inputs, whole(inputs) * kernels_.gradient_bytes, nullptr} {
    const int64_t tiles = kTokens / kernels_.gradient_tokens;
    dy_.data = thread_scratch<std::byte>((dy_.tile_bytes + x_.tile_bytes) * tiles);
    x_.data = dy_.data + dy_.tile_bytes * tiles;
  }

  // By all threads of a parallel region; ends with a barrier. REQUIRES: at most kTokens.
  void read(const T* dy_TO, const T* x_TI, int64_t tokens) {
    const int64_t of_dy = parts(dy_), of_both = of_dy + parts(x_);
    const int64_t tiles = (tokens + kernels_.gradient_tokens - 1) / kernels_.gradient_tokens;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < tiles * of_both; ++task) {
      const int64_t part = task % of_both;
      if (part < of_dy)
        read_part(dy_, dy_TO, tokens, task / of_both, part * kPart);
      else
        read_part(x_, x_TI, tokens, task / of_both, (part - of_dy) * kPart);
    }
  }

  // dvalues += dY^T X of what was read. By all threads of a parallel region; ends with a barrier.
  void add(float* dvalues_N, const CsrRuns& w, int64_t tokens) const {
    const int64_t rows = std::clamp<int64_t>(
        (w.outputs + 4 * omp_get_num_threads() - 1) / (4 * omp_get_num_threads()), 16, 256);
#pragma omp for schedule(dynamic)
    for (int64_t first = 0; first < w.outputs; first += rows)
      for (int64_t tile = 0; tile * kernels_.gradient_tokens < tokens; ++tile)
        kernels_.add_gradient(dvalues_N, dy_.data + tile * dy_.tile_bytes, x_.data + tile * x_.tile_bytes, w,
                              first, std::min(first + rows, w.outputs));
  }

 private:
  struct Side {
    int64_t features, tile_bytes;
    std::byte* data;
  };
  static constexpr int64_t kPart = 128;  // features of one task
  static_assert(kPart % kCsrFeatures == 0);

  static int64_t whole(int64_t features) {
    return (features + kCsrFeatures - 1) / kCsrFeatures * kCsrFeatures;
  }
  static int64_t parts(const Side& side) { return (side.features + kPart - 1) / kPart; }

  void read_part(const Side& side, const T* values, int64_t tokens, int64_t tile, int64_t first) const {
    const int64_t token = tile * kernels_.gradient_tokens;
    kernels_.read_gradient_tile(side.data + tile * side.tile_bytes + first * kernels_.gradient_bytes,
                                {values + token * side.features + first, side.features,
                                 std::min(tokens - token, kernels_.gradient_tokens)},
                                std::min(kPart, side.features - first));
  }

  const CsrKernels<T>& kernels_ = csr_kernels<T>(simd_level());
  Side dy_, x_;
};

}  // namespace fern
