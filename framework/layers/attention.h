// The attention block of a layer: norm, queries, keys and values, their norms where the model has them,
// rotation, attention, output projection. Letters as in block.h; B new tokens, C capacity of a cache,
// N = G K, J = (H + G) K.
#pragma once

#include <cstdint>
#include <optional>

#include "framework/core/arena.h"
#include "framework/layers/block.h"
#include "framework/layers/linear.h"
#include "framework/layers/norm.h"
#include "framework/layers/qk_norm.h"
#include "framework/model/config.h"
#include "framework/model/parameters.h"

namespace fern {

// Keys (rotated) and values of the positions seen so far, one row a position.
struct KeyValues {
  Tensor keys_CN, values_CN;
};

class AttentionBlock {
 public:
  // What backward needs.
  struct Saved {
    Tensor x_TD, rstd_T;
    Tensor raw_TJ;  // queries and keys before their norms; none without these
    Tensor qkv_TE, o_TM, lse_HT;
    Saved first(int64_t tokens) const;  // of the first tokens only; without lse
  };

  // Adds input_layernorm and this rank's heads of self_attn.* of layer `layer` to the parameters. They and
  // the axes are borrowed.
  AttentionBlock(Parameters& parameters, TensorAxis& axis, ContextAxis& context, const ModelConfig& config,
                 int64_t layer);

  Saved allocate(Arena& arena, int64_t tokens) const;
  // See Linear::reserve_packed().
  void reserve_packed(PackingRooms& rooms, const WeightUse& use);
  // saved.x += residual (may be empty); writes y = attention(norm(saved.x)), the branch alone. y may be
  // residual.
  void forward(Tensor y_TD, const Saved& saved, const BlockScratch& scratch, const Tensor& residual_TD,
               const Positions& positions, Stream& stream) const;
  // dx: on entry the gradient of the sum x + y, on return that of x. Adds the weights' gradients and tells
  // `sink`.
  void backward(Tensor dx_TD, const Saved& saved, const BlockScratch& scratch, const Positions& positions,
                GradSink& sink, Stream& stream) const;
  // As forward, for B tokens that come after the `length` in the cache, to which it appends them. REQUIRES
  // length + B <= C; positions count the tokens.
  void decode(Tensor y_BD, const KeyValues& cache, const Saved& saved, const BlockScratch& scratch,
              const Tensor& residual_BD, const Positions& positions, int64_t length, Stream& stream) const;

 private:
  void project(const Saved& saved, const BlockScratch& scratch, const Tensor& residual_TD,
               const Positions& positions, int64_t offset, Stream& stream) const;
  void append(const KeyValues& cache, const Tensor& qkv_BE, int64_t length) const;

  ModelConfig config_;
  TensorAxis& axis_;
  LayerShare share_;
  Norm norm_;
  Linear qkv_proj_;
  std::optional<QkNorm> qk_norm_;
  Linear o_proj_;
  RingAttention attention_;
};

}  // namespace fern
