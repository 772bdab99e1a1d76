// AdamW with decoupled decay (Loshchilov and Hutter 2019, algorithm 2, decay scaled by the learning rate as
// PyTorch does).
#pragma once

#include <cstdint>
#include <vector>

#include "framework/core/arena.h"
#include "framework/model/parameters.h"
#include "framework/model/slices.h"
#include "framework/optim/weight_ages.h"

namespace fern {

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0.1;      // on matrices
  bool decay_norms = false;       // also on norms
  bool decay_embeddings = false;  // also on the embedding and an untied head
};

// Errors (kBadUsage): a beta outside [0, 1), an epsilon that is not above 0, a negative decay.
void validate(const AdamWConfig& config);

// Moments of slices of the flat parameter buffers. Every element is updated by itself with the same
// roundings, so the result depends neither on slices nor on threads. Padding is never touched.
class AdamW {
 public:
  // Takes two f32 buffers of slices.elements() from `arena`, zeroed. Errors: a slice outside the buffers; see
  // also validate().
  AdamW(const AdamWConfig& config, const Parameters& parameters, Slices slices, Arena& arena);
  // A grown weight counts its updates from its own birth: with moments of zero its first update is then at
  // most one learning rate, as any weight's (Kingma and Ba 2015, section 3, bias correction).
  // Errors: not one generation a padded element; a generation without a birth.
  void set_ages(WeightAges ages);
  const WeightAges& ages() const { return ages_; }
  // Takes up another layout of the parameters, and with it other slices of at most as many elements; what
  // the moments hold is for the caller to move. Errors: more elements.
  void set_layout(const Parameters& parameters, Slices slices);
  // All the memory taken for a moment, of which the first slices().elements() are in use.
  Tensor first_moment_room() const { return m_room_; }
  Tensor second_moment_room() const { return v_room_; }

  // One update of the slices of values() from `scale` * gradients(); `update` counts applied updates from 1.
  // Notes the change. REQUIRES: f32 parameters, the same as given to the constructor.
  void step(Parameters& parameters, double learning_rate, double scale, int64_t update, Stream& stream);
  const Slices& slices() const { return slices_; }
  Tensor first_moment() const { return m_; }  // f32 [elements of the slices]
  Tensor second_moment() const { return v_; }

 private:
  // A run of elements of the flat buffers that share a decay, short enough to be one thread's work.
  struct Block {
    Slice elements;
    int64_t own = 0;  // the first one's number in the moments
    float decay = 0;  // weight decay, not yet times the learning rate
  };
  float decay_of(ParameterKind kind) const;
  void cut_into_blocks(const Parameters& parameters);

  AdamWConfig config_;
  Slices slices_;
  std::vector<Block> blocks_;
  WeightAges ages_;
  std::vector<float> step_size_ = {0}, inverse_correction2_ = {0};  // by generation, of the update under way
  Tensor m_room_, v_room_;                                          // as allocated
  Tensor m_, v_;                                                    // what of it is in use
};

}  // namespace fern
