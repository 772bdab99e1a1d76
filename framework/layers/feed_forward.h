// The feed-forward block of a layer: norm, then a SwiGLU or, in layers with experts, a mixture of them.
// Letters as in block.h.
#pragma once

#include <cstdint>
#include <variant>

#include "framework/core/arena.h"
#include "framework/layers/block.h"
#include "framework/layers/mlp.h"
#include "framework/layers/moe.h"
#include "framework/layers/norm.h"
#include "framework/layers/routing_state.h"
#include "framework/model/config.h"
#include "framework/model/parameters.h"

namespace fern {

class FeedForwardBlock {
 public:
  // What backward needs. The SwiGLU's output is computed again: it costs less than its memory.
  struct Saved {
    Tensor x_TD, rstd_T;
    Tensor gate_up_T2F;  // without experts
    Moe::Saved experts;  // with them
    Saved first(int64_t tokens) const;
  };

  // Adds post_attention_layernorm, and mlp.* or block_sparse_moe.*, of layer `layer` to the parameters. They
  // are borrowed, and so are the axis, the dispatcher and what routing depends on.
  FeedForwardBlock(Parameters& parameters, TensorAxis& axis, TokenDispatcher& dispatcher,
                   const ModelConfig& config, int64_t layer, const RoutingState& routing);
  // See Moe::add_experts(); nothing without experts.
  void add_experts();

  Saved allocate(Arena& arena, int64_t tokens) const;
  // Makes what another layer's block saves enough for this one too.
  void allocate_missing(Saved& saved, Arena& arena, int64_t tokens) const;
  // See Linear::reserve_packed().
  void reserve_packed(PackingRooms& rooms, const WeightUse& use);
  // saved.x += residual; writes y = feed_forward(norm(saved.x)), the branch alone. y may be residual.
  void forward(Tensor y_TD, const Saved& saved, const BlockScratch& scratch, const Tensor& residual_TD,
               const RoutedPositions& positions, Stream& stream) const;
  // forward without its result: fills `saved` again.
  void recompute(const Saved& saved, const BlockScratch& scratch, const Tensor& residual_TD,
                 const RoutedPositions& positions, Stream& stream) const;
  // dx: on entry the gradient of the sum x + y, on return that of x. Overwrites saved.gate_up. Adds the
  // weights' gradients and tells `sink`.
  void backward(Tensor dx_TD, const Saved& saved, const BlockScratch& scratch,
                const RoutedPositions& positions, GradSink& sink, Stream& stream) const;

 private:
  ModelConfig config_;
  TensorAxis& axis_;
  Norm norm_;
  std::variant<Mlp, Moe> branch_;
};

}  // namespace fern
