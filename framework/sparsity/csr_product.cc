#include "framework/sparsity/csr_product.h"

#include <omp.h>

#include <algorithm>
#include <limits>

#include "framework/ops/scratch.h"

namespace fern {

namespace {

int64_t ceiling(int64_t value, int64_t step) { return (value + step - 1) / step; }

// Inputs of a band: few enough that their tile of tokens lies near the first cache, and enough that a run
// pays for fetching its sum.
int64_t band_inputs(const Pattern& pattern) {
  constexpr double kRun = 18;
  const double density = std::max(pattern.density(), 1e-6);
  return std::clamp<int64_t>(static_cast<int64_t>(kRun / density) / 16 * 16, 64, 256);
}

// One task makes some outputs of one tile of tokens: all of them, unless tiles are fewer than threads.
template <typename T>
void run_product(T* y_TO, const T* x_TI, const CsrRuns& w, int64_t tokens) {
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
                    thread_scratch<float>(csr_product_room(w.inputs)));
  }
}

}  // namespace

bool CsrProduct::handles(const Pattern& pattern) {
  return pattern.block() == BlockShape{} && pattern.nonzeros() <= std::numeric_limits<uint32_t>::max();
}

CsrProduct::CsrProduct(const Pattern& pattern) : pattern_(&pattern) {
  const int64_t step = band_inputs(pattern), bands = std::max<int64_t>(ceiling(pattern.columns(), step), 1);
  forward_origin_.assign(static_cast<size_t>(bands), 0);
  for (int64_t row = 0; row < pattern.rows(); ++row) {
    const auto columns = pattern.row(row);
    const int64_t before = pattern.row_begin()[static_cast<size_t>(row)];
    for (int64_t band = 0; band < bands; ++band)
      forward_run_begin_.push_back(static_cast<uint32_t>(
          before + (std::lower_bound(columns.begin(), columns.end(), band * step) - columns.begin())));
  }
  forward_run_begin_.push_back(static_cast<uint32_t>(pattern.nonzeros()));
}

CsrRuns CsrProduct::forward_runs(const float* values_N) const {
  const auto bands = static_cast<int64_t>(forward_origin_.size());
  return {.outputs = pattern_->rows(),
          .inputs = pattern_->columns(),
          .bands = bands,
          .origin = forward_origin_.data(),
          .run_begin = forward_run_begin_.data(),
          .output_step = bands,
          .band_step = 1,
          .index = pattern_->column_index().data(),
          .values = values_N};
}

template <typename T>
void CsrProduct::forward(T* y_TO, const T* x_TI, const float* values_N, int64_t tokens) const {
  run_product(y_TO, x_TI, forward_runs(values_N), tokens);
}

size_t CsrProduct::index_bytes() const {
  return forward_origin_.size() * sizeof(forward_origin_[0]) +
         forward_run_begin_.size() * sizeof(forward_run_begin_[0]);
}

template void CsrProduct::forward(float*, const float*, const float*, int64_t) const;
template void CsrProduct::forward(BF16*, const BF16*, const float*, int64_t) const;

}  // namespace fern
