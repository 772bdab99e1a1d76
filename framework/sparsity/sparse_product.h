// The three products of a linear layer whose weight has a pattern, each costing its non-zeros. T tokens, I
// inputs, O outputs, N values in the pattern's order (pattern.h).
//
// Activations are contiguous f32 or bf16 (f64 for checks), token-major, all of one call the same; values and
// their gradient are wide (f32 beside bf16); sums are f32 or wider. The bits of a result do not depend on the
// number of threads.
#pragma once

#include <cstddef>
#include <optional>

#include "framework/core/tensor.h"
#include "framework/sparsity/block_product.h"
#include "framework/sparsity/csr_product.h"
#include "framework/sparsity/pattern.h"

namespace fern {

class SparseProduct {
 public:
  // Builds what the kernels read beside the pattern, which is borrowed. Again after the pattern has changed.
  explicit SparseProduct(const Pattern& pattern);

  // Y = X W^T.
  void forward(Tensor y_TO, const Tensor& x_TI, const Tensor& values_N, Stream& stream) const;
  // dX = dY W.
  void backward_input(Tensor dx_TI, const Tensor& dy_TO, const Tensor& values_N, Stream& stream) const;
  // dW += dY^T X on the weights that exist.
  void backward_weight(Tensor dvalues_N, const Tensor& dy_TO, const Tensor& x_TI, Stream& stream) const;

  size_t index_bytes() const;  // beside Pattern::bytes()

 private:
  const Pattern* pattern_;
  std::optional<CsrProduct> csr_;  // where they handle the pattern
  std::optional<BlockProduct> block_;
};

}  // namespace fern
