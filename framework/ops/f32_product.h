// One f32 matrix product on the calling thread, by the library that is the faster one on this processor.
// Private to the ops that multiply.
#pragma once

#include <cstdint>

#include "framework/ops/library_product.h"

namespace fern {

// One operand of a product: element (row, column) of op(matrix), where `transposed` reads it across.
template <typename T>
struct Operand {
  const T* data;
  int64_t stride;
  bool transposed;
  const T* at(int64_t row, int64_t column) const {
    return transposed ? data + column * stride + row : data + row * stride + column;
  }
};

// Whether the library packs weights for f32, and multiplies small blocks of f32, close to this processor's
// peak: with AVX-512 it does. With AVX2 alone oneDNN (2.6) does not copy small operands together, and comes
// to half of the peak, a third for dY^T X; OpenBLAS comes to nine tenths.
bool library_is_fast_for_f32();

// C (+)= A B. False: the library refused.
bool f32_product(float* c, int64_t c_stride, Operand<float> a, Operand<float> b, ProductSize size,
                 bool accumulate);

}  // namespace fern
