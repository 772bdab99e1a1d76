// The feed-forward block of a layer: norm, gate and up projections, SwiGLU, down projection. Letters as in
// block.h.
#pragma once

#include <cstdint>

#include "framework/core/arena.h"
#include "framework/layers/block.h"
#include "framework/layers/linear.h"
#include "framework/layers/norm.h"
#include "framework/model/config.h"
#include "framework/model/parameters.h"

namespace fern {

class FeedForwardBlock {
 public:
  // What backward needs. The SwiGLU's output is computed again: it costs less than its memory.
  struct Saved {
    Tensor x_TD, rstd_T, gate_up_T2F;
    Saved first(int64_t tokens) const;
  };

  // Adds post_attention_layernorm and mlp.* of layer `layer` to the parameters, which are borrowed.
  FeedForwardBlock(Parameters& parameters, const ModelConfig& config, int64_t layer);

  Saved allocate(Arena& arena, int64_t tokens) const;
  // See Linear::allocate_packed().
  void allocate_packed(Arena& arena);
  // saved.x += residual; writes y = feed_forward(norm(saved.x)), the branch alone. y may be residual.
  void forward(Tensor y_TD, const Saved& saved, const BlockScratch& scratch, const Tensor& residual_TD,
               Stream& stream) const;
  // forward without its result: fills `saved` again.
  void recompute(const Saved& saved, const BlockScratch& scratch, const Tensor& residual_TD,
                 Stream& stream) const;
  // dx: on entry the gradient of the sum x + y, on return that of x. Overwrites saved.gate_up. Adds the
  // weights' gradients and tells `sink`.
  void backward(Tensor dx_TD, const Saved& saved, const BlockScratch& scratch, GradSink& sink,
                Stream& stream) const;

 private:
  ModelConfig config_;
  Norm norm_;
  Linear gate_up_proj_, down_proj_;
};

}  // namespace fern
