// The product with the vocabulary and its loss, a chunk of tokens at a time: logits of a batch are never
// stored, and each chunk's gradient is taken at once, while its logits are there. Positions without a target
// cost nothing.
//
// T tokens, V vocabulary, D hidden, C tokens in a chunk.
#pragma once

#include <cstdint>
#include <span>

#include "framework/core/arena.h"
#include "framework/layers/linear.h"
#include "framework/model/config.h"
#include "framework/model/parameters.h"

namespace fern {

class Head {
 public:
  struct Scratch {
    Tensor position_C;  // i32: which of the T positions each row of the chunk is
    Tensor n_CD, logits_CV;
    Tensor target_C, weight_C, loss_C;  // i32, wide, f64
  };

  // Adds "lm_head.weight" to the parameters, which are borrowed; a tied head uses `embedding_weight` instead.
  Head(Parameters& parameters, const ModelConfig& config, int embedding_weight);

  Scratch allocate(Arena& arena, int64_t tokens) const;
  // See Linear::reserve_packed().
  void reserve_packed(PackingRooms& rooms, const WeightUse& use);
  // Writes loss_T (f64 nats; 0 where target is -1) and dn_TD, the gradient of sum(weight * loss), and adds
  // the weight's gradient.
  void forward_backward(std::span<double> loss_T, Tensor dn_TD, const Scratch& scratch, const Tensor& n_TD,
                        std::span<const int32_t> target_T, std::span<const float> weight_T,
                        Stream& stream) const;
  // Writes loss_T alone.
  void forward(std::span<double> loss_T, const Scratch& scratch, const Tensor& n_TD,
               std::span<const int32_t> target_T, Stream& stream) const;
  // Logits of every row of n.
  void logits(Tensor logits_TV, const Tensor& n_TD, Stream& stream) const;
  // Tells `sink` that the gradient is complete, unless it is the embedding's to tell.
  void report(GradSink& sink) const;

 private:
  ModelConfig config_;
  Linear weight_;
};

}  // namespace fern
