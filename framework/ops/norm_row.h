// The arithmetic of root-mean-square norms, row by row: shared by norms of tokens and of heads.
#pragma once

#include <cmath>
#include <cstdint>

#include "framework/ops/simd_exp.h"
#include "framework/ops/simd_rows.h"

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

// The same on bf16, in vectors (simd_rows.h).
inline float normalise_row(BF16* y, const BF16* x, const float* w, int64_t size, float epsilon) {
  Vector<float> sum = {};
  for_vectors<float>(size, [&](auto at) { sum += at.read(x) * at.read(x); });
  const float rstd = 1 / std::sqrt(sum_of_lanes<float>(sum) / static_cast<float>(size) + epsilon);
  for_vectors<float>(size, [=](auto at) { at.write(y, at.read(w) * at.read(x) * rstd); });
  return rstd;
}

}  // namespace fern
