#include "framework/layers/norm.h"

#include "framework/ops/rms_norm.h"

namespace fern {

Norm::Norm(Parameters& parameters, const std::string& name, int64_t hidden, double epsilon)
    : parameters_(parameters),
      weight_(parameters.add(name, {hidden}, ParameterKind::kNorm, 0)),
      epsilon_(epsilon) {}

void Norm::forward(Tensor y_TD, Tensor x_TD, Tensor rstd_T, const Tensor& residual_TD, Stream& stream) const {
  const Tensor w_D = parameters_.value(weight_);
  if (residual_TD.empty())
    rms_norm_forward(y_TD, rstd_T, x_TD, w_D, epsilon_, stream);
  else
    add_rms_norm_forward(y_TD, x_TD, rstd_T, x_TD, residual_TD, w_D, epsilon_, stream);
}

void Norm::backward(Tensor dx_TD, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& rstd_T,
                    GradSink& sink, Stream& stream) const {
  rms_norm_backward(dx_TD, parameters_.gradient(weight_), dy_TD, x_TD, rstd_T, parameters_.value(weight_),
                    stream);
  sink.add(parameters_.list()[static_cast<size_t>(weight_)]);
}

}  // namespace fern
