// One matrix product of the library's (oneDNN's matmul) on the calling thread: C = A B, or C += A B. Private
// to the ops that multiply.
#pragma once

#include <dnnl.hpp>

#include <cstdint>

#include "framework/core/dtype.h"

namespace fern {

struct ProductSize {
  int64_t rows, columns, depth;
};

// An operand of rows x columns: element (i, j) lies at i * row_stride + j * column_stride. One stride is 1.
struct OperandLayout {
  DType dtype;
  int64_t row_stride, column_stride;
};

// To be made on a thread whose number of OpenMP threads is 1: the library plans for as many as there are
// then.
class LibraryProduct {
 public:
  // b in the layout that the library likes best: see packed_b().
  LibraryProduct(ProductSize size, OperandLayout a, DType b, OperandLayout c, bool accumulate);
  // b as it lies.
  LibraryProduct(ProductSize size, OperandLayout a, OperandLayout b, OperandLayout c, bool accumulate);

  // False when this processor or library lacks such a product, or has only a reference for it.
  bool is_fast() const { return fast_; }
  dnnl::memory::desc packed_b() const { return descriptor_.weights_desc(); }
  // C (+)= A B. REQUIRES is_fast().
  void run(void* c, const void* a, const void* b) const;

 private:
  LibraryProduct(ProductSize size, OperandLayout a, const dnnl::memory::desc& b, OperandLayout c,
                 bool accumulate);

  bool fast_ = false;
  dnnl::matmul::primitive_desc descriptor_;
  dnnl::matmul product_;
};

dnnl::engine& library_engine();
// A matrix of f32, bf16 as the library describes it.
dnnl::memory::desc library_matrix(int64_t rows, int64_t columns, OperandLayout layout);

}  // namespace fern
