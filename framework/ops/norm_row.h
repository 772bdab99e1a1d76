// The arithmetic of root-mean-square norms, row by row: shared by norms of tokens and of heads.
#pragma once

#include <cmath>
#include <cstdint>

#include "framework/core/bf16.h"

namespace fern {

// y = w x / sqrt(mean(x^2) + epsilon), of `size` values (Zhang and Sennrich 2019, equation 4); returns the
// reciprocal of the root. y may be x.
template <typename T>
Wide<T> normalise_row(T* y, const T* x, const Wide<T>* w, int64_t size, Wide<T> epsilon) {
  Wide<T> sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < size; ++i) sum += widen(x[i]) * widen(x[i]);
  const Wide<T> rstd = 1 / std::sqrt(sum / static_cast<Wide<T>>(size) + epsilon);
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) y[i] = narrow<T>(w[i] * widen(x[i]) * rstd);
  return rstd;
}

}  // namespace fern
