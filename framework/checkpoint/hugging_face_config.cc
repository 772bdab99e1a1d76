#include "framework/checkpoint/hugging_face_config.h"

#include <fstream>

#include "framework/core/error.h"
#include "framework/core/files.h"

namespace fern {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// What a family has beside the keys that all have.
json llama_keys(const ModelConfig& config) {
  return {{"intermediate_size", config.ffn}, {"attention_bias", false}, {"mlp_bias", false}};
}

json mixtral_keys(const ModelConfig& config) {
  return {{"intermediate_size", config.expert_ffn()},
          {"num_local_experts", config.experts.count},
          {"num_experts_per_tok", config.experts.active},
          {"router_aux_loss_coef", config.experts.balance_loss},
          {"router_jitter_noise", 0.0},
          {"output_router_logits", false},
          {"sliding_window", nullptr}};
}

json qwen_keys(const ModelConfig& config) {
  json keys = {{"intermediate_size", config.ffn},
               {"attention_bias", false},
               {"use_sliding_window", false},
               {"sliding_window", nullptr}};
  const ExpertConfig& experts = config.experts;
  if (experts.count > 0)
    keys.update({{"moe_intermediate_size", config.expert_ffn()},
                 {"num_experts", experts.count},
                 {"num_experts_per_tok", experts.active},
                 {"norm_topk_prob", experts.router == RouterKind::kMixtral},
                 {"decoder_sparse_step", experts.every},
                 {"mlp_only_layers", json::array()},
                 {"router_aux_loss_coef", experts.balance_loss},
                 {"output_router_logits", false}});
  return keys;
}

json config_json(const ModelConfig& config, const HuggingFaceOptions& options) {
  const HuggingFaceFamily& family = family_of(config);
  json all = {{"architectures", {family.architecture}},
              {"model_type", family.model_type},
              {"vocab_size", config.vocabulary},
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
  all.update(family.qk_norm ? qwen_keys(config) : family.experts ? mixtral_keys(config) : llama_keys(config));
  return all;
}

// A config.json, and refusals of values that would make another model than Fern computes.
class ConfigReader {
 public:
  explicit ConfigReader(const fs::path& folder) : path_(folder / "config.json"), config_(read_json(path_)) {
    expect(config_.is_object(), "{}: expected a JSON object, got {}", path_.string(), config_.type_name());
    const json type = config_.value("model_type", json());
    std::string known;
    for (const HuggingFaceFamily& family : kHuggingFaceFamilies) {
      if (type == family.model_type) family_ = &family;
      known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", family.model_type);
    }
    expect(family_ != nullptr, "{}: \"model_type\" is {}; Fern computes {}", path_.string(), type.dump(),
           known);
  }

  ModelConfig model() const {
    try {
      expect_computed();
      ModelConfig model = sizes();
      model.qk_norm = family_->qk_norm;
      if (family_->experts) model.experts = family_->qk_norm ? qwen_experts() : mixtral_experts();
      validate(model);
      return model;
    } catch (const json::exception& error) {
      fail("{}: not the configuration of a {} model: {}", path_.string(), family_->name, error.what());
    }
  }

 private:
  bool is_null(const char* key) const { return config_.value(key, json()).is_null(); }

  // Absent keys have the family's defaults, which are what Fern computes.
  void expect_value(const json& config, const char* key, const json& wanted) const {
    const json got = config.value(key, wanted);
    expect(got == wanted, "{}: \"{}\" is {}; Fern computes {} with {} only", path_.string(), key, got.dump(),
           family_->name, wanted.dump());
  }

  void expect_computed() const {
    expect_value(config_, "hidden_act", "silu");
    if (family_->experts && !family_->qk_norm) return expect_no_window();
    expect_value(config_, "attention_bias", false);
    // Without the second one, a Qwen's "sliding_window" does not count.
    expect_value(config_, family_->qk_norm ? "use_sliding_window" : "mlp_bias", false);
  }

  void expect_no_window() const {
    const json window = config_.value("sliding_window", json());
    expect(window.is_null() || window >= config_.at("max_position_embeddings"),
           "{}: \"sliding_window\" is {}; Fern attends to all positions: expected null, or at least "
           "\"max_position_embeddings\" ({})",
           path_.string(), window.dump(), config_.at("max_position_embeddings").dump());
  }

  ExpertConfig mixtral_experts() const {
    return {.count = config_.at("num_local_experts"),
            .active = config_.at("num_experts_per_tok"),
            .ffn = config_.at("intermediate_size")};
  }

  // transformers 5 writes the number of experts under Mixtral's key.
  ExpertConfig qwen_experts() const {
    if (!is_null("mlp_only_layers")) expect_value(config_, "mlp_only_layers", json::array());
    return {.count = config_.at(is_null("num_experts") ? "num_local_experts" : "num_experts"),
            .active = config_.at("num_experts_per_tok"),
            .ffn = config_.at("moe_intermediate_size"),
            .every = config_.value("decoder_sparse_step", int64_t{1}),
            .router = config_.value("norm_topk_prob", false) ? RouterKind::kMixtral : RouterKind::kSwitch};
  }

  ModelConfig sizes() const {
    ModelConfig model;
    model.vocabulary = config_.at("vocab_size");
    model.layers = config_.at("num_hidden_layers");
    model.hidden = config_.at("hidden_size");
    model.heads = config_.at("num_attention_heads");
    model.kv_heads = config_.value("num_key_value_heads", model.heads);
    const int64_t head_dim = is_null("head_dim") ? family_->head_dim : config_.at("head_dim").get<int64_t>();
    if (head_dim != 0 && head_dim * model.heads != model.hidden) model.head_dim = head_dim;
    model.ffn = config_.at("intermediate_size");
    model.context = config_.at("max_position_embeddings");
    model.tie_embeddings = config_.value("tie_word_embeddings", false);
    model.rope_theta = rope_theta();
    model.norm_epsilon = config_.value("rms_norm_eps", family_->norm_epsilon);
    return model;
  }

  // transformers 5 writes {"rope_parameters": {"rope_theta", "rope_type"}}; before, "rope_theta" and
  // "rope_scaling".
  double rope_theta() const {
    const json rope = config_.value("rope_parameters", json(nullptr));
    const double theta = config_.value("rope_theta", family_->rope_theta);
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
  const HuggingFaceFamily* family_ = nullptr;
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
