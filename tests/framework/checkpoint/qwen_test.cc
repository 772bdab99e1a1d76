// Exported folders of models whose queries and keys have norms: Qwen3, and with experts Qwen3-MoE.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <set>

#include "framework/checkpoint/hugging_face.h"
#include "framework/checkpoint/hugging_face_tensors.h"
#include "framework/checkpoint/safetensors.h"
#include "framework/checkpoint/tensor_hash.h"
#include "framework/checkpoint/topology_file.h"
#include "framework/core/files.h"
#include "tests/framework/checkpoint/fixture.h"
#include "tests/framework/checkpoint/weights_model.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

ModelConfig dense_config(bool tied = true) {
  return {.vocabulary = 40,
          .layers = 4,
          .hidden = 24,
          .heads = 6,
          .kv_heads = 2,
          .ffn = 20,
          .context = 16,
          .tie_embeddings = tied,
          .qk_norm = true};
}

ModelConfig expert_config(int64_t every = 2, RouterKind router = RouterKind::kMixtral, bool tied = false) {
  ModelConfig config = dense_config(tied);
  config.experts = {.count = 4, .active = 2, .ffn = 12, .every = every, .router = router};
  return config;
}

// Every kind that there is.
std::vector<ModelConfig> all_kinds() {
  ModelConfig wide_heads = dense_config();
  wide_heads.head_dim = 6;
  return {wide_heads,
          dense_config(true),
          dense_config(false),
          expert_config(1),
          expert_config(2),
          expert_config(3, RouterKind::kSwitch, true),
          expert_config(1, RouterKind::kSwitch)};
}

std::vector<SparseRun> patterns_of(const ModelConfig& config) {
  const Transformer shapes(config);
  std::vector<SparseRun> sparse;
  for (const ParameterRun run : shapes.parameters().runs()) {
    const Shape shape = shapes.parameters().shape_of(run);
    if (shape[0] != config.vocabulary)
      sparse.push_back({run, testing::random_pattern(shape[0], shape[1], {}, 0.3, sparse.size())});
  }
  return sparse;
}

class Qwen : public ::testing::Test {
 protected:
  void TearDown() override { remove_tree(folder_); }

  // A model with gains that are not one, in the folder.
  void write(WeightsModel& model, uint64_t max_file_bytes = uint64_t{1} << 30) const {
    model.initialize(5);
    for (const Parameter& parameter : model.parameters().list())
      if (parameter.name.find("self_attn.q_norm") != std::string::npos ||
          parameter.name.find("self_attn.k_norm") != std::string::npos)
        for (float value = 0.5f;
             float& gain : model.parameters().value(model.parameters().find(parameter.name)).values<float>())
          gain = value += 0.25f;
    model.parameters().note_change();
    write_hugging_face(folder_, model.transformer.config(), model.parameters(),
                       {.stop_ids = {2}, .max_file_bytes = max_file_bytes});
  }
  void expect_read(WeightsModel& model) const {
    const ModelConfig config = read_hugging_face_config(folder_);
    EXPECT_EQ(config, model.transformer.config());
    const Transformer shapes(config);
    WeightsModel copy(config, read_hugging_face_patterns(folder_, shapes.parameters()));
    read_hugging_face_weights(folder_, copy.parameters());
    EXPECT_EQ(topology_hash(copy.parameters()), topology_hash(model.parameters()));
    EXPECT_EQ(weights_hash(copy.parameters()), weights_hash(model.parameters()));
  }
  json config() const { return json::parse(std::ifstream(folder_ / "config.json")); }
  void change_config(const std::function<void(json&)>& change) const {
    json changed = config();
    change(changed);
    std::ofstream(folder_ / "config.json") << changed;
  }
  std::string refusal() const {
    return error_of([&] {
      WeightsModel copy(read_hugging_face_config(folder_));
      read_hugging_face_weights(folder_, copy.parameters());
    });
  }

  fs::path folder_ = fresh_folder("qwen");
};

TEST_F(Qwen, ReferenceReadsTheFolderAndGivesTheSameLogits) {
  for (const ModelConfig& kind : all_kinds()) {
    WeightsModel model(kind);
    write(model);
    model.expect_same_logits(folder_);
  }
}

TEST_F(Qwen, ImportGivesTheSameWeightsAlsoFromManyFiles) {
  for (const ModelConfig& kind : all_kinds())
    for (const uint64_t max_file_bytes : {uint64_t{1} << 30, uint64_t{2000}}) {
      remove_tree(folder_ / "model.safetensors.index.json");
      WeightsModel model(kind);
      write(model, max_file_bytes);
      expect_read(model);
    }
}

TEST_F(Qwen, SparseModelsComeBackWithTheirPatterns) {
  for (const ModelConfig& kind : {dense_config(), expert_config()}) {
    WeightsModel sparse(kind, patterns_of(kind));
    write(sparse);
    expect_read(sparse);
    sparse.expect_same_logits(folder_);
  }
}

TEST_F(Qwen, TheConfigurationOfADenseModelIsQwen3s) {
  write_hugging_face_config(folder_, dense_config(), {});
  const json written = config();
  EXPECT_EQ(written["architectures"], json({"Qwen3ForCausalLM"}));
  EXPECT_EQ(written["model_type"], "qwen3");
  EXPECT_EQ(written["intermediate_size"], 20);
  EXPECT_EQ(written["head_dim"], 4);
  EXPECT_EQ(written["attention_bias"], false);
  EXPECT_EQ(written["use_sliding_window"], false);
  EXPECT_FALSE(written.contains("num_experts"));
}

TEST_F(Qwen, TheConfigurationOfAModelWithExpertsIsQwen3Moes) {
  ModelConfig trained = expert_config();
  trained.experts.balance_loss = 0.02;
  write_hugging_face_config(folder_, trained, {});
  const json written = config();
  EXPECT_EQ(written["architectures"], json({"Qwen3MoeForCausalLM"}));
  EXPECT_EQ(written["model_type"], "qwen3_moe");
  EXPECT_EQ(written["intermediate_size"], 20);
  EXPECT_EQ(written["moe_intermediate_size"], 12);
  EXPECT_EQ(written["num_experts"], 4);
  EXPECT_EQ(written["num_experts_per_tok"], 2);
  EXPECT_EQ(written["norm_topk_prob"], true);
  EXPECT_EQ(written["decoder_sparse_step"], 2);
  EXPECT_EQ(written["mlp_only_layers"], json::array());
  EXPECT_EQ(written["router_aux_loss_coef"], 0.02);
  write_hugging_face_config(folder_, expert_config(1, RouterKind::kSwitch), {});
  EXPECT_EQ(config()["norm_topk_prob"], false);
}

TEST_F(Qwen, TensorsHaveTheFamilysNames) {
  WeightsModel model(expert_config());
  write(model);
  const SafetensorsFile file(folder_ / "model.safetensors");
  std::set<std::string> names;
  for (const auto& [name, entry] : file.entries())
    if (name.starts_with("model.layers.1.")) names.insert(name.substr(sizeof "model.layers.1"));
  std::set<std::string> expected = {
      "input_layernorm.weight",  "post_attention_layernorm.weight", "mlp.gate.weight",
      "self_attn.q_norm.weight", "self_attn.k_norm.weight",         "self_attn.q_proj.weight",
      "self_attn.k_proj.weight", "self_attn.v_proj.weight",         "self_attn.o_proj.weight"};
  for (int e = 0; e < 4; ++e)
    for (const char* matrix : {"gate", "up", "down"})
      expected.insert(fmt::format("mlp.experts.{}.{}_proj.weight", e, matrix));
  EXPECT_EQ(names, expected);
}

// As transformers 5 saves it.
TEST_F(Qwen, StackedExpertsAreReadAndTheirNumberUnderMixtralsKey) {
  WeightsModel model(expert_config(1));
  write(model);
  const auto values = [&](const std::string& name) {
    return model.parameters().value(model.parameters().find(name)).values<float>();
  };
  std::vector<std::vector<float>> rooms;
  rooms.reserve(8);
  std::vector<NamedValues> tensors;
  for (const Parameter& parameter : model.parameters().list())
    if (parameter.name.find("block_sparse_moe.experts") == std::string::npos) {
      std::vector<int64_t> shape = {parameter.shape[0]};
      if (parameter.shape.rank() == 2) shape.push_back(parameter.shape[1]);
      tensors.push_back({tensor_name(parameter.name, kQwen3Moe), shape, values(parameter.name)});
    }
  for (int64_t layer = 0; layer < 4; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    std::vector<float>&gate_up = rooms.emplace_back(), &down = rooms.emplace_back();
    for (int64_t e = 0; e < 4; ++e) {
      const std::string expert = fmt::format("{}block_sparse_moe.experts.{}.", prefix, e);
      for (const char* matrix : {"w1", "w3"})
        std::ranges::copy(values(expert + matrix + ".weight"), std::back_inserter(gate_up));
      std::ranges::copy(values(expert + "w2.weight"), std::back_inserter(down));
    }
    tensors.push_back({prefix + "mlp.experts.gate_up_proj", {4, 24, 24}, gate_up});
    tensors.push_back({prefix + "mlp.experts.down_proj", {4, 24, 12}, down});
  }
  write_safetensors(folder_ / "model.safetensors", tensors, {{"format", "pt"}});
  change_config([](json& changed) {
    changed["num_local_experts"] = changed["num_experts"];
    changed.erase("num_experts");
    changed["mlp_only_layers"] = nullptr;
  });
  expect_read(model);
}

TEST_F(Qwen, KeysThatAreLeftOutHaveTheFamilysDefaults) {
  WeightsModel model(expert_config(1, RouterKind::kSwitch));
  write(model);
  change_config([](json& changed) {
    for (const char* key : {"norm_topk_prob", "decoder_sparse_step", "mlp_only_layers", "rms_norm_eps",
                            "rope_theta", "use_sliding_window", "head_dim"})
      changed.erase(key);
    changed["sliding_window"] = 8;  // not used
  });
  const ModelConfig read = read_hugging_face_config(folder_);
  EXPECT_EQ(read.experts, expert_config(1, RouterKind::kSwitch).experts);
  EXPECT_EQ(read.norm_epsilon, 1e-6);
  EXPECT_EQ(read.rope_theta, 1e4);
}

TEST_F(Qwen, HeadsOfADenseModelAre128WideWhereItDoesNotSay) {
  write_hugging_face_config(folder_, dense_config(), {});
  change_config([](json& changed) { changed.erase("head_dim"); });
  EXPECT_EQ(read_hugging_face_config(folder_).head_size(), 128);
}

TEST_F(Qwen, WhatFernDoesNotComputeIsRefused) {
  const std::vector<std::pair<const char*, json>> changes = {
      {"attention_bias", true}, {"use_sliding_window", true}, {"mlp_only_layers", json::array({1})},
      {"head_dim", 5},          {"decoder_sparse_step", 5},   {"hidden_act", "gelu"}};
  WeightsModel model(expert_config());
  for (const auto& [key, value] : changes) {
    write(model);
    const json wanted = value;
    change_config([&, name = key](json& changed) { changed[name] = wanted; });
    const std::string error = refusal();
    EXPECT_NE(error.find(key == std::string("decoder_sparse_step") ? "model.experts.every = 5" : key),
              std::string::npos)
        << error;
  }
}

TEST_F(Qwen, AModelWithoutTheNormsIsRefusedNamingOne) {
  WeightsModel model(dense_config());
  write(model);
  change_config([](json& changed) { changed["model_type"] = "llama"; });
  EXPECT_NE(refusal().find("self_attn.k_norm.weight' is in the file, but not in the model"),
            std::string::npos)
      << refusal();
  ModelConfig plain = dense_config();
  plain.qk_norm = false;
  WeightsModel llama(plain);
  write(llama);
  change_config([](json& changed) { changed["model_type"] = "qwen3"; });
  EXPECT_NE(refusal().find("the first is 'model.layers.0.self_attn.k_norm.weight'"), std::string::npos)
      << refusal();
}

std::string reason_against(const std::function<void(ExpertConfig&)>& change) {
  ModelConfig config = expert_config();
  change(config.experts);
  return why_not_hugging_face(config, RoutingState(config));
}

TEST_F(Qwen, WhatItCannotExpressIsNamed) {
  EXPECT_EQ(reason_against([](ExpertConfig&) {}), "");
  EXPECT_EQ(reason_against([](ExpertConfig& e) { e.router = RouterKind::kSwitch; }), "");
  EXPECT_EQ(reason_against([](ExpertConfig& e) { e.shared = 1; }),
            "model.experts.shared = 1: Qwen3-MoE has no shared experts; only 0 can be exported");
  EXPECT_NE(reason_against([](ExpertConfig& e) {
              e.capacity_factor = 1.5;
            }).find("capacity_factor = 1.5: Qwen3-MoE drops no token"),
            std::string::npos);
  WeightsModel model(expert_config());
  model.transformer.routing().bias_E(1)[3] = 0.25;
  EXPECT_NE(why_not_hugging_face(expert_config(), model.transformer.routing()).find("which Qwen3-MoE cannot"),
            std::string::npos);
}

}  // namespace
}  // namespace fern
