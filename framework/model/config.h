// The shape of a Llama-family decoder.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "framework/core/dtype.h"

namespace fern {

// What a token's chosen experts are weighed with. Both begin with a softmax over all experts and take the K
// most probable.
enum class RouterKind {
  kMixtral,  // their probabilities, divided by their sum (Jiang et al. 2024, section 2.1)
  kSwitch,   // their probabilities as they are (Fedus et al. 2021, equation 2)
};
inline constexpr std::array<std::string_view, 2> kRouterNames = {"mixtral", "switch"};
constexpr std::string_view name_of(RouterKind kind) { return kRouterNames[static_cast<size_t>(kind)]; }

// Feed-forwards of which each token uses a few.
struct ExpertConfig {
  int64_t count = 0;   // E experts in a layer; 0: dense feed-forwards
  int64_t active = 2;  // K experts that a token goes to
  int64_t ffn = 0;     // inner size of one expert; 0: ModelConfig::ffn
  int64_t shared = 0;  // experts that every token goes to, as one of shared x ffn
  int64_t every = 1;   // layers every - 1, 2 every - 1, ... have experts
  RouterKind router = RouterKind::kMixtral;
  // 0: no token is dropped. Else an expert takes ceil(factor x tokens x K / E) tokens of a micro-batch, the
  // first ones (Fedus et al. 2021, section 2.2).
  double capacity_factor = 0;
  double balance_loss = 0;  // weight of the balance loss (layers/routing_state.h)
  double z_loss = 0;        // weight of the z-loss (the same)
  double bias_rate = 0;     // step of balancing by bias (train/expert_balance.h); 0: none
  bool operator==(const ExpertConfig&) const = default;
};

struct ModelConfig {
  int64_t vocabulary = 0;  // V: rows of the embedding
  int64_t layers = 0;      // L
  int64_t hidden = 0;      // D
  int64_t heads = 0;       // H query heads
  int64_t kv_heads = 0;    // G key and value heads; divides heads
  int64_t head_dim = 0;    // K, the size of a head, even; 0: D / H, which H then divides
  int64_t ffn = 0;         // F, the inner size of the SwiGLU
  int64_t context = 0;     // most positions in one packed sequence
  bool tie_embeddings = true;
  double rope_theta = 10000.0;
  double norm_epsilon = 1e-5;
  bool qk_norm = false;  // RMSNorm of each head's queries and keys (layers/qk_norm.h)
  DType dtype = DType::kF32;
  bool recompute = false;  // recompute a layer's inner activations in backward instead of storing them

  ExpertConfig experts = {};

  int64_t head_size() const { return head_dim > 0 ? head_dim : hidden / heads; }
  int64_t query_size() const { return heads * head_size(); }  // M, of all heads
  bool has_experts(int64_t layer) const { return experts.count > 0 && (layer + 1) % experts.every == 0; }
  int64_t expert_layers() const { return experts.count > 0 ? layers / experts.every : 0; }
  int64_t expert_ffn() const { return experts.ffn > 0 ? experts.ffn : ffn; }
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
// Errors (kBadUsage): so many ranks cannot share its matrices (parallel.tensor), with the numbers that can.
void validate_shares(const ModelConfig& config, int64_t ranks);
// Of these errors that of the heads, which needs no vocabulary.
void validate_head_shares(const ModelConfig& config, int64_t ranks);
// Errors (kBadUsage): so many ranks cannot share its sequences (parallel.context), with what can.
void validate_context(const ModelConfig& config, int64_t ranks);
// Errors (kBadUsage): more ranks than experts would share them (parallel.expert).
void validate_expert_shares(const ModelConfig& config, int64_t ranks);

}  // namespace fern
