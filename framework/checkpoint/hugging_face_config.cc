#include "framework/checkpoint/hugging_face_config.h"

#include <algorithm>
#include <fstream>

#include "framework/core/error.h"
#include "framework/core/files.h"
#include "framework/layers/moe.h"

namespace fern {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

json config_json(const ModelConfig& config, const HuggingFaceOptions& options) {
  json common = {{"vocab_size", config.vocabulary},
                 {"hidden_size", config.hidden},
                 {"num_hidden_layers", config.layers},
                 {"num_attention_heads", config.heads},
                 {"num_key_value_heads", config.kv_heads},
                 {"head_dim", config.head_size()},
                 {"max_position_embeddings", config.context},
                 {"rms_norm_eps", config.norm_epsilon},
                 {"rope_theta", config.rope_theta},
                 {"rope_scaling", nullptr},
                 {"tie_word_embeddings", config.tie_embeddings},
                 {"hidden_act", "silu"},
                 {"attention_dropout", 0.0},
                 {"initializer_range", kInitialStd},
                 {"use_cache", true},
                 {"bos_token_id", options.bos_id},
                 {"eos_token_id", options.eos_id},
                 {"torch_dtype", "float32"}};
  if (config.experts.count == 0) {
    common.update({{"architectures", {"LlamaForCausalLM"}},
                   {"model_type", "llama"},
                   {"intermediate_size", config.ffn},
                   {"attention_bias", false},
                   {"mlp_bias", false}});
    return common;
  }
  common.update({{"architectures", {"MixtralForCausalLM"}},
                 {"model_type", "mixtral"},
                 {"intermediate_size", config.expert_ffn()},
                 {"num_local_experts", config.experts.count},
                 {"num_experts_per_tok", config.experts.active},
                 {"router_aux_loss_coef", config.experts.balance_loss},
                 {"router_jitter_noise", 0.0},
                 {"output_router_logits", false},
                 {"sliding_window", nullptr}});
  return common;
}

// Why experts are chosen by more than their probabilities.
std::string bias_text(const RoutingState& routing) {
  for (int64_t layer = 0; layer < routing.layers(); ++layer) {
    const std::span<const double> bias_E = routing.bias_E(layer);
    const auto there = std::ranges::find_if(bias_E, [](double bias) { return bias != 0; });
    if (there != bias_E.end())
      return fmt::format(
          "model.experts.bias_rate: expert {} of layer {} competes with {} more than its probability, which "
          "Mixtral cannot; train with bias_rate = 0 (balance_loss balances as well)",
          there - bias_E.begin(), layer, *there);
  }
  return "";
}

// What a family leaves out of config.json, or what only it has in there.
struct Family {
  const char* name;
  double rope_theta, norm_epsilon;
};
constexpr Family kLlama = {"Llama", 10000.0, 1e-6}, kMixtral = {"Mixtral", 1e6, 1e-5};

// A config.json, and refusals of values that would make another model than Fern computes.
class ConfigReader {
 public:
  explicit ConfigReader(const fs::path& folder) : path_(folder / "config.json"), config_(read_json(path_)) {
    expect(config_.is_object(), "{}: expected a JSON object, got {}", path_.string(), config_.type_name());
    const json type = config_.value("model_type", json());
    expect(type == "llama" || type == "mixtral",
           "{}: \"model_type\" is {}; Fern computes \"llama\" and \"mixtral\"", path_.string(), type.dump());
    if (type == "mixtral") family_ = kMixtral;
  }

  ModelConfig model() const {
    try {
      const bool has_experts = config_.at("model_type") == "mixtral";
      expect_value(config_, "hidden_act", "silu");
      if (has_experts)
        expect_no_window();
      else
        for (const char* key : {"attention_bias", "mlp_bias"}) expect_value(config_, key, false);
      ModelConfig model = sizes();
      if (has_experts)
        model.experts = {.count = config_.at("num_local_experts"),
                         .active = config_.at("num_experts_per_tok"),
                         .ffn = model.ffn};
      validate(model);
      if (!is_null("head_dim")) expect_value(config_, "head_dim", model.head_size());
      return model;
    } catch (const json::exception& error) {
      fail("{}: not the configuration of a {} model: {}", path_.string(), family_.name, error.what());
    }
  }

 private:
  bool is_null(const char* key) const { return config_.value(key, json()).is_null(); }

  // Absent keys have the family's defaults, which are what Fern computes.
  void expect_value(const json& config, const char* key, const json& wanted) const {
    const json got = config.value(key, wanted);
    expect(got == wanted, "{}: \"{}\" is {}; Fern computes {} with {} only", path_.string(), key, got.dump(),
           family_.name, wanted.dump());
  }

  void expect_no_window() const {
    const json window = config_.value("sliding_window", json());
    expect(window.is_null() || window >= config_.at("max_position_embeddings"),
           "{}: \"sliding_window\" is {}; Fern attends to all positions: expected null, or at least "
           "\"max_position_embeddings\" ({})",
           path_.string(), window.dump(), config_.at("max_position_embeddings").dump());
  }

  ModelConfig sizes() const {
    ModelConfig model;
    model.vocabulary = config_.at("vocab_size");
    model.layers = config_.at("num_hidden_layers");
    model.hidden = config_.at("hidden_size");
    model.heads = config_.at("num_attention_heads");
    model.kv_heads = config_.value("num_key_value_heads", model.heads);
    model.ffn = config_.at("intermediate_size");
    model.context = config_.at("max_position_embeddings");
    model.tie_embeddings = config_.value("tie_word_embeddings", false);
    model.rope_theta = rope_theta();
    model.norm_epsilon = config_.value("rms_norm_eps", family_.norm_epsilon);
    return model;
  }

  // transformers 5 writes {"rope_parameters": {"rope_theta", "rope_type"}}; before, "rope_theta" and
  // "rope_scaling".
  double rope_theta() const {
    const json rope = config_.value("rope_parameters", json(nullptr));
    const double theta = config_.value("rope_theta", family_.rope_theta);
    if (!rope.is_object()) {
      if (config_.value("rope_scaling", json()) != json{{"rope_type", "default"}})  // which scales nothing
        expect_value(config_, "rope_scaling", nullptr);
      return theta;
    }
    expect_value(rope, "rope_type", "default");
    return rope.value("rope_theta", theta);
  }

  fs::path path_;
  json config_;
  Family family_ = kLlama;
};

}  // namespace

json read_json(const fs::path& path) {
  std::ifstream file(path);
  if (!file) fail_errno(fmt::format("cannot read {}", path.string()));
  try {
    return json::parse(file);
  } catch (const json::exception& error) {
    fail("{}: not JSON: {}", path.string(), error.what());
  }
}

std::string why_not_hugging_face(const ModelConfig& config, const RoutingState& routing) {
  const ExpertConfig& experts = config.experts;
  if (experts.count == 0) return "";
  if (experts.router != RouterKind::kMixtral)
    return fmt::format(
        "model.experts.router = \"{}\": Mixtral divides the gates of a token's experts by their sum; only "
        "\"mixtral\" can be exported",
        name_of(experts.router));
  if (experts.shared > 0)
    return fmt::format("model.experts.shared = {}: Mixtral has no shared experts; only 0 can be exported",
                       experts.shared);
  if (experts.every > 1)
    return fmt::format("model.experts.every = {}: Mixtral has experts in every layer; only 1 can be exported",
                       experts.every);
  if (may_drop(experts))
    return fmt::format(
        "model.experts.capacity_factor = {}: Mixtral drops no token; only 0, or count / active ({}) and "
        "more, "
        "which drop none, can be exported",
        experts.capacity_factor, static_cast<double>(experts.count) / static_cast<double>(experts.active));
  return bias_text(routing);
}

void write_hugging_face_config(const fs::path& folder, const ModelConfig& config,
                               const HuggingFaceOptions& options) {
  write_text_durably(folder / "config.json", config_json(config, options).dump(2) + "\n");
  const json generation = {
      {"bos_token_id", options.bos_id},
      {"eos_token_id", options.stop_ids.empty() ? json(options.eos_id) : json(options.stop_ids)},
      {"do_sample", false}};
  write_text_durably(folder / "generation_config.json", generation.dump(2) + "\n");
}

ModelConfig read_hugging_face_config(const fs::path& folder) { return ConfigReader(folder).model(); }

}  // namespace fern
