// y = w * x / sqrt(mean(x^2) + epsilon), row by row. Zhang and Sennrich 2019, equation 4. T tokens, D hidden.
#pragma once

#include "framework/core/tensor.h"

namespace fern {

// Saves rstd_T = 1 / sqrt(mean(x^2) + epsilon).
void rms_norm_forward(Tensor y_TD, Tensor rstd_T, const Tensor& x_TD, const Tensor& w_D, double epsilon,
                      Stream& stream);
// The same of x = a + b, which is written too: the residual add costs no pass of its own. x may be a.
void add_rms_norm_forward(Tensor y_TD, Tensor x_TD, Tensor rstd_T, const Tensor& a_TD, const Tensor& b_TD,
                          const Tensor& w_D, double epsilon, Stream& stream);
// x += b alone, to the same bits.
void add_residual(Tensor x_TD, const Tensor& b_TD, Stream& stream);
// dx += ..., dw += ...
void rms_norm_backward(Tensor dx_TD, Tensor dw_D, const Tensor& dy_TD, const Tensor& x_TD,
                       const Tensor& rstd_T, const Tensor& w_D, Stream& stream);

}  // namespace fern
