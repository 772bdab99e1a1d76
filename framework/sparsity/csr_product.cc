#include "framework/sparsity/csr_product.h"

#include <omp.h>

#include <algorithm>
#include <limits>

#include "framework/ops/scratch.h"
#include "framework/sparsity/gradient_tiles.h"

namespace fern {

namespace {

int64_t ceiling(int64_t value, int64_t step) { return (value + step - 1) / step; }

// One task makes some outputs of one tile of tokens: all of them, unless tiles are fewer than threads.
template <typename T>
void run_product(T* y_TO, const T* x_TI, const CsrRuns& w, int64_t tokens) {
  const CsrKernels<T>& kernels = csr_kernels<T>(simd_level());
  const int64_t width = kernels.product_tokens, tiles = ceiling(tokens, width);
  const int64_t parts = std::min(ceiling(omp_get_max_threads(), tiles), ceiling(w.outputs, 16));
  const int64_t part = ceiling(ceiling(w.outputs, parts), 16) * 16;
#pragma omp parallel for schedule(dynamic)
  for (int64_t task = 0; task < tiles * parts; ++task) {
    const int64_t token = task / parts * width, first = std::min(task % parts * part, w.outputs);
    const int64_t count = std::min(tokens - token, width);
    auto* room = thread_scratch<std::byte>(kCsrSumBytes + csr_tile_bytes(w.inputs));
    kernels.product({y_TO + token * w.outputs, w.outputs, count}, {x_TI + token * w.inputs, w.inputs, count},
                    w, first, std::min(first + part, w.outputs), {room + kCsrSumBytes, room});
  }
}

// Weights rounded once for all tokens.
void round_values(BF16* rounded_N, const float* values_N, int64_t count) {
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < count; ++i) rounded_N[i] = narrow<BF16>(values_N[i]);
}

}  // namespace

bool CsrProduct::handles(const Pattern& pattern) {
  return pattern.block() == BlockShape{} && pattern.nonzeros() <= std::numeric_limits<uint32_t>::max();
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
  run_product(y_TO, x_TI, w, tokens);
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
  run_product(dx_TI, dy_TO, w, tokens);
}

template <typename T>
void CsrProduct::backward_weight(float* dvalues_N, const T* dy_TO, const T* x_TI, int64_t tokens) const {
  const CsrRuns w = forward_.runs();
  GradientTiles<T> tiles(w.outputs, w.inputs);
#pragma omp parallel
  for (int64_t token = 0; token < tokens; token += tiles.kTokens) {
    const int64_t count = std::min(tokens - token, tiles.kTokens);
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
