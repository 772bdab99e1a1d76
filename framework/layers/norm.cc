#include "framework/layers/norm.h"

#include <algorithm>
#include <functional>

#include "framework/ops/rms_norm.h"

namespace fern {

namespace {

void add_to(const Tensor& sum, const Tensor& values) {
  with_wide_type("norm", sum.dtype(), [&]<typename T>() {
    std::ranges::transform(sum.values<T>(), values.values<T>(), sum.as<T>(), std::plus<>());
  });
}

}  // namespace

Norm::Norm(Parameters& parameters, TensorAxis& axis, const std::string& name, int64_t hidden, double epsilon)
    : parameters_(parameters),
      axis_(axis),
      weight_(parameters.add(name, {hidden}, ParameterKind::kNorm, 0, 1, axis.replicated())),
      epsilon_(epsilon) {}

void Norm::forward(Tensor y_TD, Tensor x_TD, Tensor rstd_T, const Tensor& residual_TD, Stream& stream) const {
  const Tensor w_D = parameters_.value(weight_);
  if (residual_TD.empty())
    rms_norm_forward(y_TD, rstd_T, x_TD, w_D, epsilon_, stream);
  else
    add_rms_norm_forward(y_TD, x_TD, rstd_T, x_TD, residual_TD, w_D, epsilon_, stream);
}

void Norm::backward(Tensor dx_TD, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& rstd_T,
                    const Tensor& room_D, GradSink& sink, Stream& stream) const {
  const Tensor gradient_D = parameters_.gradient(weight_), w_D = parameters_.value(weight_);
  if (axis_.size() == 1) {
    rms_norm_backward(dx_TD, gradient_D, dy_TD, x_TD, rstd_T, w_D, stream);
  } else {
    fill_zero(room_D);
    rms_norm_backward(dx_TD, room_D, dy_TD, x_TD, rstd_T, w_D, stream);
    axis_.all_reduce(room_D, stream);
    add_to(gradient_D, room_D);
  }
  sink.add(parameters_.list()[static_cast<size_t>(weight_)]);
}

}  // namespace fern
