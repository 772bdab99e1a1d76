// A SwiGLU feed-forward without its norm: gate and up projections, SwiGLU, down projection. T tokens, D
// hidden, F inner size.
#pragma once

#include <cstdint>
#include <string>

#include "framework/core/arena.h"
#include "framework/layers/linear.h"
#include "framework/layers/tensor_axis.h"
#include "framework/model/config.h"
#include "framework/model/parameters.h"

namespace fern {

class Mlp {
 public:
  // Adds this rank's share of PREFIX.gate_proj, up_proj and down_proj, of `ffn` inside, to the parameters,
  // which are borrowed. What comes out of it, forward and backward, is to be summed over the axis.
  Mlp(Parameters& parameters, const TensorAxis& axis, const ModelConfig& config, const std::string& prefix,
      int64_t ffn);
  int64_t ffn() const { return ffn_; }  // of this rank
  // See Linear::reserve_packed().
  void reserve_packed(PackingRooms& rooms, const WeightUse& use);

  // forward() in two parts; backward needs gate_up alone. h is scratch.
  void project(Tensor gate_up_T2F, const Tensor& n_TD, Stream& stream) const;
  void finish(Tensor y_TD, Tensor h_TF, const Tensor& gate_up_T2F, Stream& stream) const;
  // n_dn: on entry n, on return its gradient. Overwrites gate_up. Adds the weights' gradients and tells
  // `sink`.
  void backward(Tensor n_dn_TD, Tensor h_TF, Tensor gate_up_T2F, const Tensor& dy_TD, GradSink& sink,
                Stream& stream) const;

 private:
  int64_t ffn_;
  Linear gate_up_proj_, down_proj_;
};

}  // namespace fern
