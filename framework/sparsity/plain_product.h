// The three products over a pattern, as plainly as they can be written: for f64, and for what no faster
// kernel does. Shapes as in sparse_product.h.
#pragma once

#include <algorithm>

#include "framework/core/bf16.h"
#include "framework/ops/scratch.h"
#include "framework/sparsity/for_each_weight.h"
#include "framework/sparsity/pattern.h"

namespace fern {

template <typename T>
void plain_forward(T* y_TO, const T* x_TI, const Wide<T>* values, const Pattern& pattern, int64_t tokens) {
  const int64_t outputs = pattern.rows(), inputs = pattern.columns();
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < tokens; ++t) {
    auto* sum = thread_scratch<Wide<T>>(outputs);
    std::fill_n(sum, outputs, Wide<T>{0});
    for_each_weight(pattern, 0, pattern.block_rows(), [&](int64_t row, int64_t column, int64_t value) {
      sum[row] += values[value] * widen(x_TI[t * inputs + column]);
    });
    std::transform(sum, sum + outputs, y_TO + t * outputs, narrow<T>);
  }
}

template <typename T>
void plain_backward_input(T* dx_TI, const T* dy_TO, const Wide<T>* values, const Pattern& pattern,
                          int64_t tokens) {
  const int64_t outputs = pattern.rows(), inputs = pattern.columns();
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < tokens; ++t) {
    auto* sum = thread_scratch<Wide<T>>(inputs);
    std::fill_n(sum, inputs, Wide<T>{0});
    for_each_weight(pattern, 0, pattern.block_rows(), [&](int64_t row, int64_t column, int64_t value) {
      sum[column] += values[value] * widen(dy_TO[t * outputs + row]);
    });
    std::transform(sum, sum + inputs, dx_TI + t * inputs, narrow<T>);
  }
}

// dvalues += ...
template <typename T>
void plain_backward_weight(Wide<T>* dvalues, const T* dy_TO, const T* x_TI, const Pattern& pattern,
                           int64_t tokens) {
  const int64_t outputs = pattern.rows(), inputs = pattern.columns();
#pragma omp parallel for schedule(dynamic)
  for (int64_t r = 0; r < pattern.block_rows(); ++r)
    for_each_weight(pattern, r, r + 1, [&](int64_t row, int64_t column, int64_t value) {
      Wide<T> sum = 0;
      for (int64_t t = 0; t < tokens; ++t)
        sum += widen(dy_TO[t * outputs + row]) * widen(x_TI[t * inputs + column]);
      dvalues[value] += sum;
    });
}

}  // namespace fern
