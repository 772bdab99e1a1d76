#include "framework/checkpoint/hugging_face.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>

#include "framework/checkpoint/safetensors.h"
#include "framework/core/files.h"
#include "tests/framework/checkpoint/weights_model.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

ModelConfig small_config(bool tied) {
  return {.vocabulary = 40,
          .layers = 2,
          .hidden = 24,
          .heads = 6,
          .kv_heads = 2,
          .ffn = 20,
          .context = 16,
          .tie_embeddings = tied};
}

class HuggingFace : public testing::TestWithParam<bool> {
 protected:
  fs::path folder_ = fs::path(testing::TempDir()) / "hugging_face";
  WeightsModel model_{small_config(GetParam())};

  void SetUp() override {
    remove_tree(folder_);
    create_folders(folder_);
    model_.initialize(5);
  }
  void TearDown() override { remove_tree(folder_); }
  void write(uint64_t max_file_bytes = uint64_t{1} << 30) {
    write_hugging_face(folder_, model_.transformer.config(), model_.transformer.parameters(),
                       {.stop_ids = {2, 5}, .max_file_bytes = max_file_bytes});
  }
  void set_in_config(const char* key, const nlohmann::json& value) {
    nlohmann::json config = nlohmann::json::parse(std::ifstream(folder_ / "config.json"));
    config[key] = value;
    std::ofstream(folder_ / "config.json") << config;
  }
};

TEST_P(HuggingFace, ReferenceReadsTheFolderAndGivesTheSameLogits) {
  write();
  model_.expect_same_logits(folder_);
}

TEST_P(HuggingFace, ImportGivesTheSameWeightsAlsoFromManyFiles) {
  for (uint64_t max_file_bytes : {uint64_t{1} << 30, uint64_t{2000}}) {
    write(max_file_bytes);
    EXPECT_EQ(fs::exists(folder_ / "model.safetensors.index.json"), max_file_bytes == 2000);
    EXPECT_EQ(read_hugging_face_config(folder_), model_.transformer.config());
    WeightsModel copy(read_hugging_face_config(folder_));
    read_hugging_face_weights(folder_, copy.transformer.parameters());
    EXPECT_TRUE(std::ranges::equal(copy.transformer.parameters().values().values<float>(),
                                   model_.transformer.parameters().values().values<float>()));
  }
}

TEST_P(HuggingFace, ModelsThatFernDoesNotComputeAreRefused) {
  const std::vector<std::pair<const char*, nlohmann::json>> changes = {
      {"model_type", "gpt2"}, {"hidden_act", "gelu"},     {"attention_bias", true},
      {"head_dim", 3},        {"num_attention_heads", 7}, {"rope_scaling", {{"type", "linear"}}}};
  for (const auto& [key, value] : changes) {
    write();
    set_in_config(key, value);
    EXPECT_THROW(read_hugging_face_config(folder_), Error) << key;
  }
}

TEST_P(HuggingFace, RotaryScalingByDefaultIsNoScaling) {
  write();
  set_in_config("rope_scaling", {{"rope_type", "default"}});
  EXPECT_EQ(read_hugging_face_config(folder_), model_.transformer.config());
}

TEST_P(HuggingFace, RotaryFrequenciesOfEarlyFoldersAreLeftAside) {
  write();
  const std::vector<float> frequencies = {1.0f, 0.1f};
  const std::string name = "model.layers.0.self_attn.rotary_emb.inv_freq";
  const std::vector<NamedValues> tensors = {{name, {2}, frequencies}};
  write_safetensors(folder_ / "early.safetensors", tensors, {});
  const nlohmann::json index = {
      {"weight_map", {{"model.norm.weight", "model.safetensors"}, {name, "early.safetensors"}}}};
  std::ofstream(folder_ / "model.safetensors.index.json") << index;
  WeightsModel copy(read_hugging_face_config(folder_));
  EXPECT_NO_THROW(read_hugging_face_weights(folder_, copy.transformer.parameters()));
}

TEST_P(HuggingFace, TransformersFiveSpellingOfRotaryIsRead) {
  write();
  set_in_config("rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5000.0}});
  EXPECT_EQ(read_hugging_face_config(folder_).rope_theta, 5000.0);
  set_in_config("rope_parameters", {{"rope_type", "yarn"}, {"rope_theta", 5000.0}});
  EXPECT_THROW(read_hugging_face_config(folder_), Error);
}

TEST_P(HuggingFace, WeightsOfAnotherModelAreRefused) {
  write();
  ModelConfig deeper = small_config(GetParam());
  deeper.layers = 3;
  WeightsModel larger(deeper);
  EXPECT_THROW(read_hugging_face_weights(folder_, larger.transformer.parameters()), Error);
  ModelConfig shallower = small_config(GetParam());
  shallower.layers = 1;
  WeightsModel smaller(shallower);
  EXPECT_THROW(read_hugging_face_weights(folder_, smaller.transformer.parameters()), Error);
  ModelConfig wider = small_config(GetParam());
  wider.ffn = 21;
  WeightsModel other(wider);
  EXPECT_THROW(read_hugging_face_weights(folder_, other.transformer.parameters()), Error);
}

INSTANTIATE_TEST_SUITE_P(Heads, HuggingFace, testing::Values(true, false),
                         [](const auto& info) { return info.param ? "Tied" : "Untied"; });

}  // namespace
}  // namespace fern
