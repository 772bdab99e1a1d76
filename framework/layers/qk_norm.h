// The norms of each head's queries and keys, before they are rotated, with a gain for all query heads and one
// for all key heads (ops/head_norm.h). All ranks of the tensor axis hold both gains. Letters as in block.h
// and ops/head_norm.h, of this rank's heads.
#pragma once

#include <array>
#include <string>

#include "framework/core/tensor.h"
#include "framework/layers/tensor_axis.h"
#include "framework/model/config.h"
#include "framework/model/grad_sink.h"
#include "framework/model/parameters.h"
#include "framework/ops/head_norm.h"

namespace fern {

class QkNorm {
 public:
  // Adds the weights PREFIX.q_norm and PREFIX.k_norm to the parameters. They and the axis are borrowed.
  QkNorm(Parameters& parameters, TensorAxis& axis, const ModelConfig& config, const std::string& prefix);

  // In place; saves queries and keys as they came.
  void forward(Tensor qkv_TE, Tensor raw_TJ, Stream& stream) const;
  // dqkv: on entry the gradient of what went out, on return that of what came. Adds to the gains' gradients
  // those of all ranks' heads; tells `sink`. room_2K is where several ranks make their sum.
  void backward(Tensor dqkv_TE, const Tensor& raw_TJ, const Tensor& room_2K, GradSink& sink,
                Stream& stream) const;

 private:
  struct Gain {
    int weight;
    HeadRange heads;
  };

  const Parameters& parameters_;
  TensorAxis& axis_;
  int64_t head_size_;
  double epsilon_;
  std::array<Gain, 2> gains_;  // of queries and of keys
};

}  // namespace fern
