// The three products of a linear layer, from the weight as it lies (packed_weight.h has faster ones). T
// tokens, I inputs, O outputs; w_OI as in PyTorch: row o makes output o.
//
// Every op in this folder: activations are contiguous f32 or bf16 (f64 for checks), and all of one call the
// same; weights, their gradients and statistics of a row are wide (f32 beside bf16). Sums are f32 or wider.
// The bits of a result do not depend on the number of threads, and a wrong shape or dtype fails with
// "[op] name: expected ..., got ...".
#pragma once

#include "framework/core/tensor.h"

namespace fern {

// Y = X W^T.
void linear_forward(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI, Stream& stream);
// dX = dY W, or dX += dY W.
void linear_backward_input(Tensor dx_TI, const Tensor& dy_TO, const Tensor& w_OI, bool accumulate,
                           Stream& stream);
// dW += dY^T X.
void linear_backward_weight(Tensor dw_OI, const Tensor& dy_TO, const Tensor& x_TI, Stream& stream);
// The same for rows [first_row, first_row + R) of dW alone.
void linear_backward_weight_rows(Tensor dw_RI, const Tensor& dy_TO, int64_t first_row, const Tensor& x_TI,
                                 Stream& stream);

}  // namespace fern
