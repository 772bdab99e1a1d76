// The product with the vocabulary and its loss, a chunk of tokens at a time: logits of a batch are never
// stored, and each chunk's gradient is taken at once, while its logits are there. Positions without a target
// cost nothing.
//
// T tokens, V vocabulary (of this rank), D hidden, C tokens in a chunk, N ranks that share the vocabulary.
#pragma once

#include <cstdint>
#include <span>

#include "framework/core/arena.h"
#include "framework/layers/linear.h"
#include "framework/layers/tensor_axis.h"
#include "framework/model/config.h"
#include "framework/model/parameters.h"

namespace fern {

class Head {
 public:
  struct Scratch {
    Tensor position_C;  // i32: which of the T positions each row of the chunk is
    Tensor n_CD, logits_CV;
    Tensor target_C, weight_C, loss_C;  // i32 (counted from this rank's first id), wide, f64
    Tensor stats_NC3, scale_C2;         // f64, of several ranks
  };

  // Adds this rank's rows of "lm_head.weight" to the parameters; a tied head uses `embedding_weight` instead.
  // They and the axis are borrowed.
  Head(Parameters& parameters, TensorAxis& axis, const ModelConfig& config, int embedding_weight);

  Scratch allocate(Arena& arena, int64_t tokens) const;
  // See Linear::reserve_packed().
  void reserve_packed(PackingRooms& rooms, const WeightUse& use);
  // Writes loss_T (f64 nats; 0 where target is -1) and dn_TD, this rank's part of the gradient of sum(weight
  // * loss), to be summed over ranks, and adds the weight's gradient.
  void forward_backward(std::span<double> loss_T, Tensor dn_TD, const Scratch& scratch, const Tensor& n_TD,
                        std::span<const int32_t> target_T, std::span<const float> weight_T,
                        Stream& stream) const;
  // Writes loss_T alone.
  void forward(std::span<double> loss_T, const Scratch& scratch, const Tensor& n_TD,
               std::span<const int32_t> target_T, Stream& stream) const;
  // Logits of every row of n. REQUIRES: one rank.
  void logits(Tensor logits_TV, const Tensor& n_TD, Stream& stream) const;
  // Tells `sink` that the gradient is complete, unless it is the embedding's to tell.
  ParameterRun parameters() const { return weight_.run(); }
  void report(GradSink& sink) const;

 private:
  // Loss of the chunk, and its logits' gradient in place of them.
  void loss_and_gradient(const Scratch& chunk, Stream& stream) const;
  // Loss of the chunk, by all ranks.
  void join_loss(const Scratch& chunk, Stream& stream) const;

  ModelConfig config_;
  TensorAxis& axis_;
  Slice vocabulary_;  // of this rank
  Linear weight_;
};

}  // namespace fern
