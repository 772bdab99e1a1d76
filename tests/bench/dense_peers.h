// Dense products for bench_sparse to be measured against, on the same operands.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "framework/core/tensor.h"

namespace fern {

struct LayerOperands {
  Tensor y_TO, x_TI, dy_TO, dx_TI;  // f32 or bf16
  Tensor w_OI, dw_OI;               // f32
};

// Forward, dX and dW of one library.
struct DensePeer {
  std::string name;
  std::function<void()> products[3];
  bool keeps_spinning = false;  // its threads wait busily for a while after a call
};

// Those that this program is linked with and that have the type. The operands are borrowed.
std::vector<DensePeer> dense_peers(const LayerOperands& operands);

}  // namespace fern
