// AdamW with decoupled decay (Loshchilov and Hutter 2019, algorithm 2, decay scaled by the learning rate as
// PyTorch does).
#pragma once

#include <cstdint>

#include "framework/core/arena.h"
#include "framework/model/parameters.h"

namespace fern {

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0.1;      // on matrices
  bool decay_norms = false;       // also on norms
  bool decay_embeddings = false;  // also on the embedding and an untied head
};

// Moments of one slice of the flat parameter buffers.
class AdamW {
 public:
  // Takes two f32 buffers of slice.elements() from `arena`, zeroed.
  AdamW(const AdamWConfig& config, const Parameters& parameters, Slice slice, Arena& arena);
  // One update of values()[slice] from `scale` * gradients()[slice]; `update` counts applied updates from 1.
  void step(Parameters& parameters, double learning_rate, double scale, int64_t update, Stream& stream);
  Slice slice() const { return slice_; }
  Tensor first_moment() const { return m_; }  // f32 [slice elements]
  Tensor second_moment() const { return v_; }

 private:
  AdamWConfig config_;
  Slice slice_;
  Tensor m_, v_;
};

}  // namespace fern
