// A weight matrix arranged as the product library reads it fastest, in the type of the activations: once
// after each change, and not within every product. T tokens, I inputs, O outputs.
#pragma once

#include <cstdint>

#include "framework/core/arena.h"
#include "framework/core/tensor.h"

namespace fern {

class PackedWeight {
 public:
  // Room in `arena` (which may be measuring) for a weight of `outputs` rows and `inputs` columns beside
  // activations of `dtype`. Where this processor or library has no such layout it takes none.
  PackedWeight(int64_t outputs, int64_t inputs, DType dtype, Arena& arena);

  // Which products pack() prepares. For bf16 both; for f32 the forward one alone, since the other is as fast
  // from the weight as it lies.
  bool has_forward() const { return !forward_.empty(); }
  bool has_backward() const { return !backward_.empty(); }

  // Arranges w_OI (f32), rounding to bf16 where that is the type; nothing, where there is no room for it.
  void pack(const Tensor& w_OI, Stream& stream);
  // Y = X W^T. REQUIRES has_forward().
  void forward(Tensor y_TO, const Tensor& x_TI, Stream& stream) const;
  // dX = dY W. REQUIRES has_backward().
  void backward_input(Tensor dx_TI, const Tensor& dy_TO, Stream& stream) const;

  // Gives its memory back to the system, for good.
  void give_back() const;

 private:
  int64_t outputs_, inputs_;
  DType dtype_;
  Tensor forward_, backward_;  // bytes, as i32
};

}  // namespace fern
