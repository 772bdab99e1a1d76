// The three products of an unstructured pattern (blocks of 1 x 1). Shapes as in sparse_product.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "framework/core/bf16.h"
#include "framework/sparsity/csr_view.h"
#include "framework/sparsity/pattern.h"

namespace fern {

class CsrProduct {
 public:
  // Whether this class handles the pattern: blocks of 1 x 1, fewer than 2^31 weights.
  static bool handles(const Pattern& pattern);
  // Borrows the pattern. REQUIRES handles(pattern).
  explicit CsrProduct(const Pattern& pattern);

  // T is float or BF16; pointers are to contiguous activations of `tokens` tokens.
  template <typename T>
  void forward(T* y_TO, const T* x_TI, const float* values_N, int64_t tokens) const;
  template <typename T>
  void backward_input(T* dx_TI, const T* dy_TO, const float* values_N, int64_t tokens) const;
  template <typename T>
  void backward_weight(float* dvalues_N, const T* dy_TO, const T* x_TI, int64_t tokens) const;

  size_t index_bytes() const;  // beside Pattern::bytes()

 private:
  const Pattern* pattern_;
  CsrView forward_;
  TransposedCsrView backward_;
};

}  // namespace fern
