// h = silu(gate) * up. Shazeer 2020, "GLU variants improve Transformer", equation 6. A row of gate_up is F
// gates, then F ups.
#pragma once

#include "framework/core/tensor.h"

namespace fern {

void swiglu_forward(Tensor h_TF, const Tensor& gate_up_T2F, Stream& stream);
// Writes dgate_up. dgate_up may be gate_up itself.
void swiglu_backward(Tensor dgate_up_T2F, const Tensor& dh_TF, const Tensor& gate_up_T2F, Stream& stream);

}  // namespace fern
