// The shape of a Llama-family decoder.
#pragma once

#include <cmath>
#include <cstdint>

#include "framework/core/dtype.h"

namespace fern {

struct ModelConfig {
  int64_t vocabulary = 0;  // V: rows of the embedding
  int64_t layers = 0;      // L
  int64_t hidden = 0;      // D
  int64_t heads = 0;       // H query heads; divides hidden, head size D / H is even
  int64_t kv_heads = 0;    // G key and value heads; divides heads
  int64_t ffn = 0;         // F, the inner size of the SwiGLU
  int64_t context = 0;     // most positions in one packed sequence
  bool tie_embeddings = true;
  double rope_theta = 10000.0;
  double norm_epsilon = 1e-5;
  DType dtype = DType::kF32;
  bool recompute = false;  // recompute a layer's inner activations in backward instead of storing them

  int64_t head_size() const { return hidden / heads; }
  bool operator==(const ModelConfig&) const = default;
};

// Initial weights are normal with this deviation. Projections that add to the residual stream start smaller,
// so that the stream's size does not depend on depth (Radford et al. 2019, section 2.3: two a layer).
inline constexpr double kInitialStd = 0.02;
inline double residual_initial_std(const ModelConfig& config) {
  return kInitialStd / std::sqrt(2.0 * static_cast<double>(config.layers));
}

// Errors (kBadUsage): the first size that cannot be, with the values that would do.
void validate(const ModelConfig& config);

}  // namespace fern
