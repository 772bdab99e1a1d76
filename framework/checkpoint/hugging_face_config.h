// config.json and generation_config.json of a Hugging Face folder of one of the families.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/checkpoint/hugging_face_family.h"
#include "framework/model/config.h"

namespace fern {

struct HuggingFaceOptions {
  int32_t bos_id = 1, eos_id = 2;
  std::vector<int32_t> stop_ids;                // ids that end a generation, eos among them
  uint64_t max_file_bytes = uint64_t{5} << 30;  // of one safetensors file
};

// Writes both files into an existing folder. router_aux_loss_coef is config.experts.balance_loss: what
// training goes on with there, where the loss is taken over all layers at once. REQUIRES:
// why_not_hugging_face() is "". Errors: not writable, disk full.
void write_hugging_face_config(const std::filesystem::path& folder, const ModelConfig& config,
                               const HuggingFaceOptions& options);

// The model's shape from config.json. Errors: missing, not JSON, not of a family or not as Fern computes it
// (other activation, biases, scaled rotary embeddings, a sliding window, layers
// without experts that no step of layers says), each with key and value.
ModelConfig read_hugging_face_config(const std::filesystem::path& folder);

// One of a folder's JSON files. Errors: missing, not JSON.
nlohmann::json read_json(const std::filesystem::path& path);

}  // namespace fern
