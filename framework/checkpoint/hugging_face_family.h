// The families of models that a Hugging Face folder may be of, and which of them a model is.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "framework/layers/routing_state.h"
#include "framework/model/config.h"

namespace fern {

struct HuggingFaceFamily {
  const char *name, *architecture, *model_type;
  bool qk_norm = false, experts = false;  // what it has, and the others have not
  // Where config.json has none; a head_dim of 0 is hidden / heads.
  double rope_theta = 1e4, norm_epsilon = 1e-6;
  int64_t head_dim = 0;
};

inline constexpr HuggingFaceFamily kLlama = {
    .name = "Llama", .architecture = "LlamaForCausalLM", .model_type = "llama"};
inline constexpr HuggingFaceFamily kMixtral = {.name = "Mixtral",
                                               .architecture = "MixtralForCausalLM",
                                               .model_type = "mixtral",
                                               .experts = true,
                                               .rope_theta = 1e6,
                                               .norm_epsilon = 1e-5};
inline constexpr HuggingFaceFamily kQwen3 = {.name = "Qwen3",
                                             .architecture = "Qwen3ForCausalLM",
                                             .model_type = "qwen3",
                                             .qk_norm = true,
                                             .head_dim = 128};
inline constexpr HuggingFaceFamily kQwen3Moe = {.name = "Qwen3-MoE",
                                                .architecture = "Qwen3MoeForCausalLM",
                                                .model_type = "qwen3_moe",
                                                .qk_norm = true,
                                                .experts = true};
inline constexpr std::array kHuggingFaceFamilies = {kLlama, kMixtral, kQwen3, kQwen3Moe};

// The one with this model's kinds of layers.
const HuggingFaceFamily& family_of(const ModelConfig& config);

// Why no folder holds this model, naming the key and what would do; "" where one does. Neither family with
// experts has shared ones, drops tokens, or chooses experts by more than their probabilities. Mixtral has
// experts in every layer, and divides gates by their sum.
std::string why_not_hugging_face(const ModelConfig& config, const RoutingState& routing);

}  // namespace fern
