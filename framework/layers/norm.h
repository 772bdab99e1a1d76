// RMSNorm with its weight, which all ranks of the tensor axis hold. T tokens (those of this rank), D hidden.
#pragma once

#include <string>

#include "framework/core/tensor.h"
#include "framework/layers/tensor_axis.h"
#include "framework/model/grad_sink.h"
#include "framework/model/parameters.h"

namespace fern {

class Norm {
 public:
  // Adds the weight `name` to the parameters. They and the axis are borrowed.
  Norm(Parameters& parameters, TensorAxis& axis, const std::string& name, int64_t hidden, double epsilon);

  // Adds residual_TD to x_TD, unless it is empty, then writes y = norm(x). Saves x_TD and rstd_T.
  int weight() const { return weight_; }
  void forward(Tensor y_TD, Tensor x_TD, Tensor rstd_T, const Tensor& residual_TD, Stream& stream) const;
  // Adds to dx_TD the gradient that comes through the norm, and to the weight's gradient that of all ranks'
  // tokens; tells `sink`. room_D is where several ranks make their sum.
  void backward(Tensor dx_TD, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& rstd_T,
                const Tensor& room_D, GradSink& sink, Stream& stream) const;

 private:
  const Parameters& parameters_;
  TensorAxis& axis_;
  int weight_;
  double epsilon_;
};

}  // namespace fern
