// The model's shape in manifests: one JSON key for each field of ModelConfig that decides what is computed.
#pragma once

#include <nlohmann/json.hpp>

#include "framework/model/config.h"

namespace fern {

nlohmann::json to_json(const ModelConfig& config);
// Errors (kFailed): a key missing or of the wrong type, naming it; sizes that validate() refuses.
ModelConfig model_config_from_json(const nlohmann::json& json);

}  // namespace fern
