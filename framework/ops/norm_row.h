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
  Vector<Wide<T>> sum = {};
  for_vectors<Wide<T>>(size, [&](auto at) { sum += at.read(x) * at.read(x); });
  const Wide<T> mean = sum_of_lanes<Wide<T>>(sum) / static_cast<Wide<T>>(size);
  const Wide<T> rstd = 1 / std::sqrt(mean + epsilon);
  for_vectors<Wide<T>>(size, [=](auto at) { at.write(y, at.read(w) * at.read(x) * rstd); });
  return rstd;
}

}  // namespace fern
