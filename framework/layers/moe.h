// A mixture of experts in place of a feed-forward, without its norm: y = sum over the experts a token goes to
// of gate x W2 (silu(W1 n) * W3 n), plus shared experts that every token goes to. Its rows are the (token,
// choice) pairs, at most T K of them, next to each other by expert: nothing is padded to the largest expert.
// Where ranks share the experts (token_dispatcher.h), each computes the rows that all of them have for its
// own.
//
// T tokens, E experts, K of them for each token, R rows, Q rows at the experts that are here (the same, on
// one rank), D hidden, F inner size of an expert, S that of the shared experts together.
#pragma once

#include <cstdint>
#include <optional>

#include "framework/core/arena.h"
#include "framework/layers/block.h"
#include "framework/layers/grouped_linear.h"
#include "framework/layers/mlp.h"
#include "framework/layers/routing_state.h"
#include "framework/layers/token_dispatcher.h"
#include "framework/model/config.h"
#include "framework/model/parameters.h"
#include "framework/ops/routing.h"
#include "framework/ops/token_permutation.h"

namespace fern {

// Whether tokens may be dropped: an expert gets each token at most once.
constexpr bool may_drop(const ExpertConfig& experts) {
  return experts.capacity_factor > 0 &&
         experts.capacity_factor * static_cast<double>(experts.active) < static_cast<double>(experts.count);
}

class Moe {
 public:
  // What backward needs, beside the input.
  struct Saved {
    Routing routing;
    TokenPermutation permutation;
    Dispatch dispatch;
    Tensor gate_Q;  // of each row
    Tensor gate_up_Q2F, shared_gate_up_T2S;
    Saved first(int64_t tokens) const;
  };

  // Adds block_sparse_moe.* of layer `layer`, under Mixtral's names, to the parameters: the router; this
  // rank's share of each expert, but where ranks share out the experts, for which there is add_experts(); the
  // shared experts. Parameters are borrowed, and so are the axis, the dispatcher and `state`. What comes out,
  // forward and backward, is to be summed over the axis.
  Moe(Parameters& parameters, TensorAxis& axis, TokenDispatcher& dispatcher, const ModelConfig& config,
      int64_t layer, const RoutingState& state);
  // Adds the experts that are here, as a group of their own.
  void add_experts();

  Saved allocate(Arena& arena, int64_t tokens) const;
  // See Linear::reserve_packed().
  void reserve_packed(PackingRooms& rooms, const WeightUse& use);
  // forward() in two parts; backward needs what the first one saves. Padding comes out as zero. Writes to
  // positions.record.
  void project(const Saved& saved, const BlockScratch& scratch, const Tensor& n_TD,
               const RoutedPositions& positions, Stream& stream) const;
  void finish(Tensor y_TD, const Saved& saved, const BlockScratch& scratch, Stream& stream) const;
  // n_dn: on entry n, on return its gradient, that of the router's own losses included. Overwrites
  // saved.gate_up. Adds the weights' gradients and tells `sink`.
  void backward(Tensor n_dn_TD, const Saved& saved, const BlockScratch& scratch, const Tensor& dy_TD,
                const RoutedPositions& positions, GradSink& sink, Stream& stream) const;

 private:
  RoutingRule rule(const RoutedPositions& positions) const;
  RouterLossWeights loss_weights(const RoutedPositions& positions) const;
  // The rows of x that go to the experts here, in scratch.here.
  Tensor at_experts(const Saved& saved, const BlockScratch& scratch, const Tensor& x_TD,
                    Stream& stream) const;
  // The gates of these rows, to saved.gate; and the gates' gradient in scratch.dgate back.
  void send_gates(const Saved& saved, const BlockScratch& scratch, Stream& stream) const;
  void collect_gates(const Saved& saved, const BlockScratch& scratch, Stream& stream) const;
  // What the experts here made of the rows in scratch.here, back with this rank's tokens.
  Tensor from_experts(const Saved& saved, const BlockScratch& scratch, Stream& stream) const;
  // The gradient of each row's input in scratch.here, of the gates in scratch.dgate.
  void backward_experts(const Saved& saved, const BlockScratch& scratch, const Tensor& n_TD,
                        const Tensor& dy_TD, GradSink& sink, Stream& stream) const;
  void backward_router(const Saved& saved, const BlockScratch& scratch, const Tensor& n_TD,
                       const RoutedPositions& positions, GradSink& sink, Stream& stream) const;
  void report_experts(GradSink& sink) const;

  ModelConfig config_;
  TensorAxis& axis_;
  TokenDispatcher& dispatcher_;
  Slice own_experts_;
  int64_t expert_ffn_;  // of this rank
  int64_t layer_;
  int64_t index_;  // among layers with experts
  const RoutingState& state_;
  Parameters& parameters_;
  int router_;
  GroupedLinear gate_up_proj_, down_proj_;
  std::optional<Mlp> shared_;
};

}  // namespace fern
