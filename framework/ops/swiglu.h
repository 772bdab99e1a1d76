// h = silu(gate) * up. Shazeer 2020, "GLU variants improve Transformer", equation 6. A row of gate_up is F
// gates, then F ups. R rows of experts.
#pragma once

#include "framework/core/tensor.h"

namespace fern {

void swiglu_forward(Tensor h_TF, const Tensor& gate_up_T2F, Stream& stream);
// Writes dgate_up. dgate_up may be gate_up itself.
void swiglu_backward(Tensor dgate_up_T2F, const Tensor& dh_TF, const Tensor& gate_up_T2F, Stream& stream);

// The same of rows that are weighed besides, row r by weight[r]. Since what follows is linear, an expert's
// output is weighed before its last product. weight is wide.
void weighted_swiglu_forward(Tensor h_RF, const Tensor& gate_up_R2F, const Tensor& weight_R, Stream& stream);
// Writes dgate_up, which may be gate_up, and dweight.
void weighted_swiglu_backward(Tensor dgate_up_R2F, Tensor dweight_R, const Tensor& dh_RF,
                              const Tensor& gate_up_R2F, const Tensor& weight_R, Stream& stream);

}  // namespace fern
