#include "framework/sparsity/csr_product.h"

#include <omp.h>

#include <algorithm>
#include <limits>

#include "framework/ops/scratch.h"

namespace fern {

namespace {

int64_t ceiling(int64_t value, int64_t step) { return (value + step - 1) / step; }

// One task makes some outputs of one tile of tokens: all of them, unless tiles are fewer than threads.
template <typename T>
void run_product(T* y_TO, const T* x_TI, const CsrRuns& w, int64_t tokens, double density) {
  const CsrKernels<T>& kernels = csr_kernels<T>(simd_level());
  constexpr double kDense = 0.27;
  const int64_t width = density > kDense ? kernels.dense_product_tokens : kernels.product_tokens;
  const int64_t tiles = ceiling(tokens, width),
                tile_bytes = width * kernels.product_bytes * (w.inputs + kCsrFeatures);
  const int64_t parts = std::min(ceiling(omp_get_max_threads(), tiles), ceiling(w.outputs, 16));
  const int64_t part = ceiling(ceiling(w.outputs, parts), 16) * 16;
#pragma omp parallel for schedule(dynamic)
  for (int64_t task = 0; task < tiles * parts; ++task) {
    const int64_t token = task / parts * width, first = std::min(task % parts * part, w.outputs);
    const int64_t count = std::min(tokens - token, width);
    auto* room = thread_scratch<std::byte>(kCsrSumBytes + tile_bytes);
    kernels.product({y_TO + token * w.outputs, w.outputs, count}, {x_TI + token * w.inputs, w.inputs, count},
                    w, first, std::min(first + part, w.outputs), {room + kCsrSumBytes, room});
  }
}

// Weights rounded once for all tokens.
void round_values(BF16* rounded_N, const float* values_N, int64_t count) {
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < count; ++i) rounded_N[i] = narrow<BF16>(values_N[i]);
}

// How many parts of the outputs and of the bands there are; each pair is a task of one thread.
struct GradientSplit {
  int64_t outputs, bands;
};

// A task turns over its own part of both activations and multiplies them; the largest task should be small.
GradientSplit split_of(const CsrRuns& w, double density, int64_t threads) {
  constexpr double kTurning = 6;  // weights that cost as much as turning over a feature
  GradientSplit best{threads, 1};
  double least = std::numeric_limits<double>::infinity();
  for (int64_t bands = std::min(threads, w.bands); bands > 0; --bands) {
    const int64_t parts = ceiling(threads, bands);
    const auto outputs = static_cast<double>(ceiling(w.outputs, parts)),
               inputs = static_cast<double>(ceiling(w.bands, bands) * w.band_inputs);
    const double work = outputs * inputs * density + kTurning * (outputs + inputs);
    if (work < least) best = {parts, bands}, least = work;
  }
  return best;
}

CsrRange part_of(int64_t count, int64_t part, int64_t parts) {
  return {count * part / parts, count * (part + 1) / parts};
}

// dW += dY^T X for some outputs and bands, tile of tokens by tile; the tiles stay in the second cache.
template <typename T>
void add_gradient(float* dvalues_N, const T* dy_TO, const T* x_TI, const CsrRuns& w, CsrRange outputs,
                  CsrRange bands, int64_t tokens) {
  constexpr int64_t kOutputs = 256;
  const CsrKernels<T>& kernels = csr_kernels<T>(simd_level());
  const int64_t input = bands.first * w.band_inputs,
                inputs = std::min(bands.last * w.band_inputs, w.inputs) - input;
  auto* dy = thread_scratch<std::byte>((kOutputs + inputs + 2 * kCsrFeatures) * kernels.gradient_bytes);
  std::byte* x = dy + (kOutputs + kCsrFeatures) * kernels.gradient_bytes;
  for (int64_t token = 0; token < tokens; token += kernels.gradient_tokens) {
    const int64_t count = std::min(tokens - token, kernels.gradient_tokens);
    kernels.read_gradient_tile(x, {x_TI + token * w.inputs + input, w.inputs, count}, inputs);
    for (int64_t first = outputs.first; first < outputs.last; first += kOutputs) {
      const CsrRange block{first, std::min(first + kOutputs, outputs.last)};
      kernels.read_gradient_tile(dy, {dy_TO + token * w.outputs + first, w.outputs, count},
                                 block.last - first);
      kernels.add_gradient(dvalues_N, dy, x, w, block, bands);
    }
  }
}

}  // namespace

bool CsrProduct::handles(const Pattern& pattern) {
  return pattern.block() == BlockShape{} && pattern.nonzeros() <= std::numeric_limits<int32_t>::max();
}

CsrProduct::CsrProduct(const Pattern& pattern) : pattern_(&pattern), forward_(pattern), backward_(pattern) {}

template <typename T>
void CsrProduct::forward(T* y_TO, const T* x_TI, const float* values_N, int64_t tokens) const {
  CsrRuns w = forward_.runs();
  w.values = values_N;
  if (csr_kernels<T>(simd_level()).reads_rounded) {
    auto* rounded = thread_scratch<BF16>(pattern_->nonzeros());
    round_values(rounded, values_N, pattern_->nonzeros());
    w.rounded = rounded;
  }
  run_product(y_TO, x_TI, w, tokens, pattern_->density());
}

template <typename T>
void CsrProduct::backward_input(T* dx_TI, const T* dy_TO, const float* values_N, int64_t tokens) const {
  CsrRuns w = backward_.runs();
  if (csr_kernels<T>(simd_level()).reads_rounded) {
    auto* arranged = thread_scratch<BF16>(pattern_->nonzeros());
    backward_.arrange(arranged, values_N);
    w.rounded = arranged;
  } else {
    auto* arranged = thread_scratch<float>(pattern_->nonzeros());
    backward_.arrange(arranged, values_N);
    w.values = arranged;
  }
  run_product(dx_TI, dy_TO, w, tokens, pattern_->density());
}

template <typename T>
void CsrProduct::backward_weight(float* dvalues_N, const T* dy_TO, const T* x_TI, int64_t tokens) const {
  const CsrRuns w = forward_.runs();
  const GradientSplit split = split_of(w, pattern_->density(), omp_get_max_threads());
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < split.outputs * split.bands; ++task)
    add_gradient(dvalues_N, dy_TO, x_TI, w, part_of(w.outputs, task / split.bands, split.outputs),
                 part_of(w.bands, task % split.bands, split.bands), tokens);
}

size_t CsrProduct::index_bytes() const { return forward_.bytes() + backward_.bytes(); }

template void CsrProduct::forward(float*, const float*, const float*, int64_t) const;
template void CsrProduct::forward(BF16*, const BF16*, const float*, int64_t) const;
template void CsrProduct::backward_input(float*, const float*, const float*, int64_t) const;
template void CsrProduct::backward_input(BF16*, const BF16*, const float*, int64_t) const;
template void CsrProduct::backward_weight(float*, const float*, const float*, int64_t) const;
template void CsrProduct::backward_weight(float*, const BF16*, const BF16*, int64_t) const;

}  // namespace fern
