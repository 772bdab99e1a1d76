#include "framework/layers/qk_norm.h"

#include "framework/layers/block.h"
#include "framework/ops/rms_norm.h"

namespace fern {

QkNorm::QkNorm(Parameters& parameters, TensorAxis& axis, const ModelConfig& config, const std::string& prefix)
    : parameters_(parameters), axis_(axis), head_size_(config.head_size()), epsilon_(config.norm_epsilon) {
  const auto add = [&](const char* name) {
    return parameters.add(prefix + name, {head_size_}, ParameterKind::kNorm, 0, 1, axis.replicated());
  };
  const LayerShare share(config, axis);
  gains_[0] = {add(".q_norm.weight"), {0, share.heads}};
  gains_[1] = {add(".k_norm.weight"), {share.heads, share.heads + share.kv_heads}};
}

void QkNorm::forward(Tensor qkv_TE, Tensor raw_TJ, Stream& stream) const {
  for (const auto& [weight, heads] : gains_)
    head_norm_forward(qkv_TE, raw_TJ, parameters_.value(weight), heads, epsilon_, stream);
}

void QkNorm::backward(Tensor dqkv_TE, const Tensor& raw_TJ, const Tensor& room_2K, GradSink& sink,
                      Stream& stream) const {
  const bool is_shared = axis_.size() > 1;
  const auto made = [&](size_t i) {
    const auto begin = static_cast<int64_t>(i) * head_size_;
    return is_shared ? room_2K.rows(begin, begin + head_size_) : parameters_.gradient(gains_[i].weight);
  };
  if (is_shared) fill_zero(room_2K);
  for (size_t i = 0; i < gains_.size(); ++i)
    head_norm_backward(dqkv_TE, made(i), raw_TJ, parameters_.value(gains_[i].weight), gains_[i].heads,
                       epsilon_, stream);
  if (is_shared) axis_.all_reduce(room_2K, stream);  // of both at once
  for (size_t i = 0; i < gains_.size(); ++i) {
    if (is_shared) add_residual(parameters_.gradient(gains_[i].weight), made(i), stream);
    sink.add(parameters_.list()[static_cast<size_t>(gains_[i].weight)]);
  }
}

}  // namespace fern
