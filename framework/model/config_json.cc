#include "framework/model/config_json.h"

#include <algorithm>

#include "framework/core/error.h"

namespace fern {

namespace {

nlohmann::json to_json(const ModelConfig& config, const ExpertConfig& experts) {
  return {{"count", experts.count},
          {"active", experts.active},
          {"ffn", config.expert_ffn()},
          {"shared", experts.shared},
          {"every", experts.every},
          {"router", name_of(experts.router)},
          {"capacity_factor", experts.capacity_factor}};
}

ExpertConfig experts_from_json(const nlohmann::json& json) {
  const std::string router = json.at("router");
  const auto found = std::ranges::find(kRouterNames, router);
  expect(found != kRouterNames.end(), "the manifest does not describe a model: router \"{}\" is not known",
         router);
  return {.count = json.at("count"),
          .active = json.at("active"),
          .ffn = json.at("ffn"),
          .shared = json.at("shared"),
          .every = json.at("every"),
          .router = static_cast<RouterKind>(found - kRouterNames.begin()),
          .capacity_factor = json.at("capacity_factor")};
}

}  // namespace

nlohmann::json to_json(const ModelConfig& config) {
  nlohmann::json json = {{"vocabulary", config.vocabulary}, {"layers", config.layers},
                         {"hidden", config.hidden},         {"heads", config.heads},
                         {"kv_heads", config.kv_heads},     {"ffn", config.ffn},
                         {"context", config.context},       {"tie_embeddings", config.tie_embeddings},
                         {"rope_theta", config.rope_theta}, {"norm_epsilon", config.norm_epsilon}};
  if (config.query_size() != config.hidden) json["head_dim"] = config.head_size();
  if (config.qk_norm) json["qk_norm"] = true;
  if (config.experts.count > 0) json["experts"] = to_json(config, config.experts);
  return json;
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
    config.head_dim = json.value("head_dim", int64_t{0});
    config.qk_norm = json.value("qk_norm", false);
    if (json.contains("experts")) config.experts = experts_from_json(json.at("experts"));
  } catch (const nlohmann::json::exception& error) {
    fail("the manifest does not describe a model: {}", error.what());
  }
  validate(config);
  return config;
}

}  // namespace fern
