// config.json and generation_config.json of a Hugging Face folder: of LlamaForCausalLM, or of a model with
// experts MixtralForCausalLM.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/layers/routing_state.h"
#include "framework/model/config.h"

namespace fern {

struct HuggingFaceOptions {
  int32_t bos_id = 1, eos_id = 2;
  std::vector<int32_t> stop_ids;                // ids that end a generation, eos among them
  uint64_t max_file_bytes = uint64_t{5} << 30;  // of one safetensors file
};

// Why no such folder holds this model, naming the key and what would do; "" where one does. Mixtral has
// experts in every layer and none that are shared, drops no token, divides gates by their sum, and chooses
// experts by their probabilities alone.
std::string why_not_hugging_face(const ModelConfig& config, const RoutingState& routing);

// Writes both files into an existing folder. router_aux_loss_coef is config.experts.balance_loss: what
// training goes on with there, where the loss is taken over all layers at once. REQUIRES:
// why_not_hugging_face() is "". Errors: not writable, disk full.
void write_hugging_face_config(const std::filesystem::path& folder, const ModelConfig& config,
                               const HuggingFaceOptions& options);

// The model's shape from config.json. Errors: missing, not JSON, not a Llama or a Mixtral that Fern computes
// (other activation, biases, scaled rotary embeddings, a sliding window, a head size that is not hidden /
// heads), each with key and value.
ModelConfig read_hugging_face_config(const std::filesystem::path& folder);

// One of a folder's JSON files. Errors: missing, not JSON.
nlohmann::json read_json(const std::filesystem::path& path);

}  // namespace fern
