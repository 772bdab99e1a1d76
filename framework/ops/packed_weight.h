// A weight matrix arranged as the product library reads it fastest, in the type of the activations: once
// after each change, or for each product, and not within it. T tokens, I inputs, O outputs.
#pragma once

#include <cstdint>
#include <memory>

#include "framework/core/tensor.h"
#include "framework/ops/packing_rooms.h"

namespace fern {

class PackedWeight {
 public:
  // Reserves room in `rooms`, which must be allocated before a product and live as long. Where this processor
  // or library has no such layout it reserves none.
  PackedWeight(int64_t outputs, int64_t inputs, const WeightUse& use, PackingRooms& rooms);
  PackedWeight(PackedWeight&&) noexcept;
  PackedWeight& operator=(PackedWeight&&) noexcept;
  ~PackedWeight();

  // Which products there are. For bf16 both; for f32 the forward one alone, since the other is as fast from
  // the weight as it lies.
  bool has_forward() const { return forward_ != nullptr; }
  bool has_backward() const { return backward_ != nullptr; }

  // Y = X W^T. REQUIRES has_forward(). Arranges w_OI (f32) first, rounding to bf16 where that is the type,
  // unless this `version` of it is packed already.
  void forward(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI, int64_t version, Stream& stream);
  // dX = dY W. REQUIRES has_backward(). Packs as forward() does.
  void backward_input(Tensor dx_TI, const Tensor& dy_TO, const Tensor& w_OI, int64_t version, Stream& stream);

  // Gives memory that no other weight shares back to the system, for good.
  void give_back() const;

 private:
  struct Operand;

  void expect_weight(const Tensor& w_OI) const;

  int64_t outputs_, inputs_;
  DType dtype_;
  std::unique_ptr<Operand> forward_, backward_;
};

}  // namespace fern
