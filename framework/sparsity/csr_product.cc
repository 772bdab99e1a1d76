#include "framework/sparsity/csr_product.h"

#include <omp.h>

#include <algorithm>
#include <limits>

#include "framework/ops/scratch.h"

namespace fern {

namespace {

// Tokens whose tiles the threads make together before they share the rows of the gradient.
constexpr int64_t kGradientChunk = 256;

int64_t ceiling(int64_t value, int64_t step) { return (value + step - 1) / step; }

// One task makes some outputs of one tile of tokens: all of them, unless tiles are fewer than threads.
// `room` is for all threads.
template <typename T>
void run_product(T* y_TO, const T* x_TI, const CsrRuns& w, int64_t tokens, float* room) {
  const CsrKernels<T>& kernels = csr_kernels<T>(simd_level());
  const int64_t tiles = ceiling(tokens, kCsrTokens);
  const int64_t parts = std::min(ceiling(omp_get_max_threads(), tiles), ceiling(w.outputs, 16));
  const int64_t part = ceiling(ceiling(w.outputs, parts), 16) * 16;
#pragma omp parallel for schedule(dynamic)
  for (int64_t task = 0; task < tiles * parts; ++task) {
    const int64_t token = task / parts * kCsrTokens, first = std::min(task % parts * part, w.outputs);
    const int64_t count = std::min(tokens - token, kCsrTokens);
    kernels.product({y_TO + token * w.outputs, w.outputs, count}, {x_TI + token * w.inputs, w.inputs, count},
                    w, first, std::min(first + part, w.outputs),
                    room + omp_get_thread_num() * csr_product_room(w.inputs));
  }
}

int64_t product_room(int64_t inputs) { return omp_get_max_threads() * csr_product_room(inputs); }

// Both activations of one chunk of tokens, as the gradient reads them.
template <typename T>
class GradientTiles {
 public:
  GradientTiles(int64_t outputs, int64_t inputs)
      : outputs_(outputs),
        inputs_(inputs),
        width_(kernels_.gradient_tokens),
        dy_(thread_scratch<float>((outputs + inputs) * kGradientChunk)),
        x_(dy_ + outputs * kGradientChunk) {}

  // By all threads of a parallel region; ends with a barrier.
  void read(const T* dy_TO, const T* x_TI, int64_t tokens) {
    constexpr int64_t kFeatures = 128;
    const int64_t of_dy = ceiling(outputs_, kFeatures), of_x = ceiling(inputs_, kFeatures);
#pragma omp for collapse(2) schedule(dynamic)
    for (int64_t tile = 0; tile < kGradientChunk / width_; ++tile)
      for (int64_t part = 0; part < of_dy + of_x; ++part) {
        if (tile * width_ >= tokens) continue;
        if (part < of_dy)
          read_part(dy_, dy_TO, outputs_, tile, part * kFeatures, kFeatures, tokens);
        else
          read_part(x_, x_TI, inputs_, tile, (part - of_dy) * kFeatures, kFeatures, tokens);
      }
  }

  // By all threads of a parallel region; ends with a barrier.
  void add(float* dvalues_N, const CsrRuns& w, int64_t tokens) const {
    const int64_t part = std::clamp<int64_t>(ceiling(outputs_, 4 * omp_get_num_threads()), 16, 256);
#pragma omp for schedule(dynamic)
    for (int64_t first = 0; first < outputs_; first += part)
      for (int64_t tile = 0; tile * width_ < tokens; ++tile)
        kernels_.add_gradient(dvalues_N, dy_ + tile * width_ * outputs_, x_ + tile * width_ * inputs_, w,
                              first, std::min(first + part, outputs_));
  }

 private:
  void read_part(float* tiles, const T* values, int64_t features, int64_t tile, int64_t first, int64_t count,
                 int64_t tokens) const {
    const int64_t token = tile * width_;
    kernels_.read_gradient_tile(
        tiles + token * features + first * width_,
        {values + token * features + first, features, std::min(tokens - token, width_)},
        std::min(count, features - first));
  }

  const CsrKernels<T>& kernels_ = csr_kernels<T>(simd_level());
  int64_t outputs_, inputs_, width_;
  float *dy_, *x_;
};

}  // namespace

bool CsrProduct::handles(const Pattern& pattern) {
  return pattern.block() == BlockShape{} && pattern.nonzeros() <= std::numeric_limits<uint32_t>::max();
}

CsrProduct::CsrProduct(const Pattern& pattern) : pattern_(&pattern), forward_(pattern), backward_(pattern) {}

template <typename T>
void CsrProduct::forward(T* y_TO, const T* x_TI, const float* values_N, int64_t tokens) const {
  float* room = thread_scratch<float>(product_room(pattern_->columns()));
  run_product(y_TO, x_TI, forward_.runs(values_N), tokens, room);
}

template <typename T>
void CsrProduct::backward_input(T* dx_TI, const T* dy_TO, const float* values_N, int64_t tokens) const {
  constexpr int64_t kAlignment = 16;
  const int64_t arranged = ceiling(pattern_->nonzeros(), kAlignment) * kAlignment;
  auto* room = thread_scratch<float>(arranged + product_room(pattern_->rows()));
  backward_.arrange(room, values_N);
  run_product(dx_TI, dy_TO, backward_.runs(room), tokens, room + arranged);
}

template <typename T>
void CsrProduct::backward_weight(float* dvalues_N, const T* dy_TO, const T* x_TI, int64_t tokens) const {
  const CsrRuns w = forward_.runs(nullptr);
  GradientTiles<T> tiles(w.outputs, w.inputs);
#pragma omp parallel
  for (int64_t token = 0; token < tokens; token += kGradientChunk) {
    const int64_t count = std::min(tokens - token, kGradientChunk);
    tiles.read(dy_TO + token * w.outputs, x_TI + token * w.inputs, count);
    tiles.add(dvalues_N, w, count);
  }
}

size_t CsrProduct::index_bytes() const { return forward_.bytes() + backward_.bytes(); }

template void CsrProduct::forward(float*, const float*, const float*, int64_t) const;
template void CsrProduct::forward(BF16*, const BF16*, const float*, int64_t) const;
template void CsrProduct::backward_input(float*, const float*, const float*, int64_t) const;
template void CsrProduct::backward_input(BF16*, const BF16*, const float*, int64_t) const;
template void CsrProduct::backward_weight(float*, const float*, const float*, int64_t) const;
template void CsrProduct::backward_weight(float*, const BF16*, const BF16*, int64_t) const;

}  // namespace fern
