// A product with a weight matrix, without bias. T tokens, I inputs, O outputs.
#pragma once

#include <optional>

#include "framework/core/tensor.h"
#include "framework/model/grad_sink.h"
#include "framework/model/parameters.h"
#include "framework/ops/packed_weight.h"
#include "framework/sparsity/sparse_product.h"

namespace fern {

// Several matrices over the same input, stored one after the other, are one product: y's rows hold their
// outputs side by side (q|k|v, gate|up). Where the run has a pattern, the products cost its non-zeros.
// Borrows the parameters.
class Linear {
 public:
  Linear(Parameters& parameters, ParameterRun run) : parameters_(parameters), run_(run) {
    parameters.add_product(run);
  }

  ParameterRun run() const { return run_; }
  // Reserves room in `rooms` for the weight as products read it fastest, which are of use.tokens rows, or of
  // its share of them in an expert. Without it products take the weight as it lies. A sparse weight takes no
  // room.
  void reserve_packed(PackingRooms& rooms, WeightUse use);

  // Writes y = x W^T.
  void forward(Tensor y_TO, const Tensor& x_TI, Stream& stream) const;
  // Writes dx = dy W.
  void backward_input(Tensor dx_TI, const Tensor& dy_TO, Stream& stream) const;
  // Adds dy^T x to the weight's gradient, and to those of its scored rows (Parameters::scored_rows()).
  void backward_weight(const Tensor& dy_TO, const Tensor& x_TI, Stream& stream) const;
  // Tells `sink` that the gradients are complete, last parameter first.
  void report(GradSink& sink) const;

 private:
  // The pattern, and what was made of the one before given up; null where there is none.
  const Pattern* pattern() const;
  // The products over the pattern; null where there is none.
  const SparseProduct* sparse() const;
  // Whether a matrix with a pattern is multiplied as a dense one, with its zeros.
  bool is_multiplied_dense(DType dtype) const;
  // The matrix with its zeros, if so; else empty.
  Tensor expanded(DType dtype) const;

  const Parameters& parameters_;
  ParameterRun run_;
  mutable std::optional<PackedWeight> packed_;
  mutable std::optional<SparseProduct> sparse_;
  mutable const Pattern* pattern_ = nullptr;
  mutable bool is_hardly_sparse_ = false;
  mutable int64_t topology_version_ = -1;
};

}  // namespace fern
