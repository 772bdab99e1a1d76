// Whether products over a pattern are worth their while: below some sparsity a dense product with zeros is
// faster.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/core/tensor.h"
#include "framework/sparsity/pattern.h"

namespace fern {

// Whether the dense product is chosen for a pattern and activations of this type: from break-even densities
// that were measured (tests/bench/sparse_bench.cc), by instruction set and block. It is a function of the
// processor and the pattern alone, so that every rank and every layout computes the same, where all nodes
// have one kind of processor. f32 only: other types always take the sparse product.
bool prefers_dense(const Pattern& pattern, DType dtype);
bool prefers_dense(double density, BlockShape block, DType dtype);

// Seconds of forward, dX and dW together, of either kind.
struct ProductCosts {
  double sparse_s = 0, dense_s = 0;
};
// The better of a few rounds on this machine, with OpenMP's threads. Takes measuring_bytes(), and gives them
// back.
ProductCosts measure_products(const Pattern& pattern, DType dtype, int64_t tokens);
// For a dense matrix with its gradient, and activations of `tokens`.
size_t measuring_bytes(const Pattern& pattern, DType dtype, int64_t tokens);

}  // namespace fern
