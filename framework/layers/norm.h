// RMSNorm with its weight. T tokens, D hidden.
#pragma once

#include <string>

#include "framework/core/tensor.h"
#include "framework/model/grad_sink.h"
#include "framework/model/parameters.h"

namespace fern {

class Norm {
 public:
  // Adds the weight `name` to the parameters, which are borrowed.
  Norm(Parameters& parameters, const std::string& name, int64_t hidden, double epsilon);

  // Adds residual_TD to x_TD, unless it is empty, then writes y = norm(x). Saves x_TD and rstd_T.
  void forward(Tensor y_TD, Tensor x_TD, Tensor rstd_T, const Tensor& residual_TD, Stream& stream) const;
  // Adds to dx_TD the gradient that comes through the norm, and to the weight's gradient; tells `sink`.
  void backward(Tensor dx_TD, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& rstd_T, GradSink& sink,
                Stream& stream) const;

 private:
  const Parameters& parameters_;
  int weight_;
  double epsilon_;
};

}  // namespace fern
