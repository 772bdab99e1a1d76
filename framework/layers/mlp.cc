#include "framework/layers/mlp.h"

#include "framework/ops/swiglu.h"

namespace fern {

namespace {

ParameterRun add_gate_up(Parameters& parameters, const TensorAxis& axis, const ModelConfig& config,
                         const std::string& prefix, int64_t ffn) {
  const auto add = [&](const char* name) {
    return parameters.add(prefix + name, {axis.own(ffn).elements(), config.hidden}, ParameterKind::kMatrix,
                          kInitialStd, 1, axis.rows(ffn));
  };
  const int first = add(".gate_proj.weight");
  add(".up_proj.weight");
  return {first, 2};
}

ParameterRun add_down(Parameters& parameters, const TensorAxis& axis, const ModelConfig& config,
                      const std::string& prefix, int64_t ffn) {
  return {parameters.add(prefix + ".down_proj.weight", {config.hidden, axis.own(ffn).elements()},
                         ParameterKind::kMatrix, residual_initial_std(config), 1, axis.columns(ffn)),
          1};
}

}  // namespace

Mlp::Mlp(Parameters& parameters, const TensorAxis& axis, const ModelConfig& config, const std::string& prefix,
         int64_t ffn)
    : ffn_(axis.own(ffn).elements()),
      gate_up_proj_(parameters, add_gate_up(parameters, axis, config, prefix, ffn)),
      down_proj_(parameters, add_down(parameters, axis, config, prefix, ffn)) {}

void Mlp::reserve_packed(PackingRooms& rooms, const WeightUse& use) {
  gate_up_proj_.reserve_packed(rooms, use);
  down_proj_.reserve_packed(rooms, use);
}

void Mlp::project(Tensor gate_up_T2F, const Tensor& n_TD, Stream& stream) const {
  gate_up_proj_.forward(gate_up_T2F, n_TD, stream);
}

void Mlp::finish(Tensor y_TD, Tensor h_TF, const Tensor& gate_up_T2F, Stream& stream) const {
  swiglu_forward(h_TF, gate_up_T2F, stream);
  down_proj_.forward(y_TD, h_TF, stream);
}

void Mlp::backward(Tensor n_dn_TD, Tensor h_TF, Tensor gate_up_T2F, const Tensor& dy_TD, GradSink& sink,
                   Stream& stream) const {
  const Tensor &dh_TF = h_TF, &dgate_up_T2F = gate_up_T2F;
  swiglu_forward(h_TF, gate_up_T2F, stream);
  down_proj_.backward_weight(dy_TD, h_TF, stream);
  down_proj_.report(sink);
  down_proj_.backward_input(dh_TF, dy_TD, stream);
  swiglu_backward(dgate_up_T2F, dh_TF, gate_up_T2F, stream);
  gate_up_proj_.backward_weight(dgate_up_T2F, n_dn_TD, stream);
  gate_up_proj_.report(sink);
  gate_up_proj_.backward_input(n_dn_TD, dgate_up_T2F, stream);
}

}  // namespace fern
