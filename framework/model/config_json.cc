#include "framework/model/config_json.h"

#include "framework/core/error.h"

namespace fern {

nlohmann::json to_json(const ModelConfig& config) {
  return {{"vocabulary", config.vocabulary}, {"layers", config.layers},
          {"hidden", config.hidden},         {"heads", config.heads},
          {"kv_heads", config.kv_heads},     {"ffn", config.ffn},
          {"context", config.context},       {"tie_embeddings", config.tie_embeddings},
          {"rope_theta", config.rope_theta}, {"norm_epsilon", config.norm_epsilon}};
}

ModelConfig model_config_from_json(const nlohmann::json& json) {
  ModelConfig config;
  try {
    config.vocabulary = json.at("vocabulary");
    config.layers = json.at("layers");
    config.hidden = json.at("hidden");
    config.heads = json.at("heads");
    config.kv_heads = json.at("kv_heads");
    config.ffn = json.at("ffn");
    config.context = json.at("context");
    config.tie_embeddings = json.at("tie_embeddings");
    config.rope_theta = json.at("rope_theta");
    config.norm_epsilon = json.at("norm_epsilon");
  } catch (const nlohmann::json::exception& error) {
    fail("the manifest does not describe a model: {}", error.what());
  }
  validate(config);
  return config;
}

}  // namespace fern
