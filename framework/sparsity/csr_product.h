// The three products of an unstructured pattern (blocks of 1 x 1). Shapes as in sparse_product.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "framework/core/bf16.h"
#include "framework/sparsity/kernels/csr_kernels.h"
#include "framework/sparsity/pattern.h"

namespace fern {

class CsrProduct {
 public:
  // Whether this class handles the pattern: blocks of 1 x 1, fewer than 2^32 weights.
  static bool handles(const Pattern& pattern);
  // Borrows the pattern. REQUIRES handles(pattern).
  explicit CsrProduct(const Pattern& pattern);

  // T is float or BF16; pointers are to contiguous activations of `tokens` tokens.
  template <typename T>
  void forward(T* y_TO, const T* x_TI, const float* values_N, int64_t tokens) const;

  size_t index_bytes() const;  // beside Pattern::bytes()

 private:
  CsrRuns forward_runs(const float* values_N) const;

  const Pattern* pattern_;
  std::vector<int64_t> forward_origin_;
  std::vector<uint32_t> forward_run_begin_;
};

}  // namespace fern
