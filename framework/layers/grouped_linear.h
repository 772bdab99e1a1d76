// Products of experts' rows, each group of rows with a matrix of its own. E experts, R rows of them all, I
// inputs, O outputs.
#pragma once

#include <utility>
#include <vector>

#include "framework/core/arena.h"
#include "framework/layers/linear.h"
#include "framework/model/grad_sink.h"

namespace fern {

// Expert e has rows [first[e], first[e + 1]) (TokenPermutation); one without rows costs nothing.
class GroupedLinear {
 public:
  // The next expert's product, of the shape of the others.
  void add(Linear expert) { experts_.push_back(std::move(expert)); }
  // See Linear::reserve_packed().
  void reserve_packed(PackingRooms& rooms, const WeightUse& use);

  // y = x W_e^T.
  void forward(Tensor y_RO, const Tensor& x_RI, const Tensor& first_E1, Stream& stream) const;
  // dx = dy W_e.
  void backward_input(Tensor dx_RI, const Tensor& dy_RO, const Tensor& first_E1, Stream& stream) const;
  // dW_e += dy^T x.
  void backward_weight(const Tensor& dy_RO, const Tensor& x_RI, const Tensor& first_E1, Stream& stream) const;
  // Tells `sink` that expert `expert`'s gradients are complete, last parameter first.
  void report(GradSink& sink, int64_t expert) const { experts_[static_cast<size_t>(expert)].report(sink); }

 private:
  std::vector<Linear> experts_;
};

}  // namespace fern
