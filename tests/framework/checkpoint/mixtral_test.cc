// Exported folders of models with experts.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "framework/checkpoint/hugging_face.h"
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

// As read_hugging_face_config() has it: config.json has one width for both feed-forwards.
ModelConfig expert_config(bool tied = true) {
  return {.vocabulary = 40,
          .layers = 2,
          .hidden = 24,
          .heads = 6,
          .kv_heads = 2,
          .ffn = 20,
          .context = 16,
          .tie_embeddings = tied,
          .experts = {.count = 4, .active = 2, .ffn = 20}};
}

std::vector<SparseRun> expert_patterns() {
  const Transformer shapes(expert_config());
  std::vector<SparseRun> sparse;
  for (const ParameterRun run : shapes.parameters().runs()) {
    const Shape shape = shapes.parameters().shape_of(run);
    if (shape[0] != shapes.config().vocabulary)
      sparse.push_back({run, testing::random_pattern(shape[0], shape[1], {}, 0.3, sparse.size())});
  }
  return sparse;
}

class Mixtral : public ::testing::Test {
 protected:
  void SetUp() override { model_.initialize(5); }
  void TearDown() override { remove_tree(folder_); }

  void write(WeightsModel& model, uint64_t max_file_bytes = uint64_t{1} << 30) const {
    write_hugging_face(folder_, model.transformer.config(), model.parameters(),
                       {.stop_ids = {2}, .max_file_bytes = max_file_bytes});
  }
  // A folder's model has the same weights.
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
  void set_in_config(const char* key, const json& value) const {
    json changed = config();
    changed[key] = value;
    std::ofstream(folder_ / "config.json") << changed;
  }
  std::string refusal() const {
    return error_of([&] {
      WeightsModel copy(read_hugging_face_config(folder_));
      read_hugging_face_weights(folder_, copy.parameters());
    });
  }
  std::span<const float> values(const std::string& name) {
    return model_.parameters().value(model_.parameters().find(name)).values<float>();
  }
  // The tensors as transformers 5 holds them, experts stacked.
  void write_stacked() {
    write(model_);
    std::vector<std::vector<float>> rooms;
    std::vector<NamedValues> tensors;
    rooms.reserve(6);
    const auto stack = [&](const std::string& name, std::vector<int64_t> shape, const std::string& branch,
                           std::initializer_list<const char*> matrices) {
      std::vector<float>& room = rooms.emplace_back();
      for (int64_t e = 0; e < shape[0]; ++e)
        for (const char* matrix : matrices)
          std::ranges::copy(values(fmt::format("{}.experts.{}.{}.weight", branch, e, matrix)),
                            std::back_inserter(room));
      tensors.push_back({name, std::move(shape), room});
    };
    for (const Parameter& parameter : model_.parameters().list())
      if (parameter.name.find("block_sparse_moe") == std::string::npos) {
        std::vector<int64_t> shape = {parameter.shape[0]};
        if (parameter.shape.rank() == 2) shape.push_back(parameter.shape[1]);
        tensors.push_back({parameter.name, shape, values(parameter.name)});
      }
    for (int64_t layer = 0; layer < 2; ++layer) {
      const std::string prefix = fmt::format("model.layers.{}", layer), from = prefix + ".block_sparse_moe",
                        to = prefix + ".mlp";
      tensors.push_back({to + ".gate.weight", {4, 24}, values(from + ".gate.weight")});
      stack(to + ".experts.gate_up_proj", {4, 40, 24}, from, {"w1", "w3"});
      stack(to + ".experts.down_proj", {4, 24, 20}, from, {"w2"});
    }
    write_safetensors(folder_ / "model.safetensors", tensors, {{"format", "pt"}});
  }

  fs::path folder_ = fresh_folder("mixtral");
  WeightsModel model_{expert_config()};
};

TEST_F(Mixtral, ReferenceReadsTheFolderAndGivesTheSameLogits) {
  for (const bool tied : {true, false}) {
    WeightsModel model(expert_config(tied));
    model.initialize(5);
    write(model);
    model.expect_same_logits(folder_);
  }
}

TEST_F(Mixtral, ImportGivesTheSameWeightsAlsoFromManyFiles) {
  for (const uint64_t max_file_bytes : {uint64_t{1} << 30, uint64_t{2000}}) {
    write(model_, max_file_bytes);
    expect_read(model_);
  }
}

TEST_F(Mixtral, TheConfigurationIsMixtrals) {
  ModelConfig trained = expert_config();
  trained.experts.balance_loss = 0.02;
  trained.ffn = 64;  // of no layer
  write_hugging_face_config(folder_, trained, {});
  const json written = config();
  EXPECT_EQ(written["architectures"], json({"MixtralForCausalLM"}));
  EXPECT_EQ(written["model_type"], "mixtral");
  EXPECT_EQ(written["num_local_experts"], 4);
  EXPECT_EQ(written["num_experts_per_tok"], 2);
  EXPECT_EQ(written["intermediate_size"], 20);
  EXPECT_EQ(written["router_aux_loss_coef"], 0.02);
  EXPECT_TRUE(written["sliding_window"].is_null());
}

TEST_F(Mixtral, SparseExpertsComeBackWithTheirPatterns) {
  WeightsModel sparse(expert_config(), expert_patterns());
  sparse.initialize(5);
  write(sparse);
  expect_read(sparse);
  sparse.expect_same_logits(folder_);
}

TEST_F(Mixtral, OtherReadersFindZerosWhereNoWeightExists) {
  WeightsModel sparse(expert_config(), expert_patterns());
  sparse.initialize(5);
  write(sparse);
  read_hugging_face_weights(folder_, model_.parameters());
  for (const Parameter& parameter : sparse.parameters().list())
    EXPECT_EQ(std::ranges::count_if(values(parameter.name), [](float value) { return value != 0; }),
              parameter.nonzeros)
        << parameter.name;
}

TEST_F(Mixtral, StackedExpertsAreRead) {
  write_stacked();
  expect_read(model_);
}

TEST_F(Mixtral, StackedExpertsOfAnotherNumberAreRefused) {
  write_stacked();
  set_in_config("num_local_experts", 5);
  const std::string error = refusal();
  EXPECT_NE(error.find("is [4,"), std::string::npos) << error;
  EXPECT_NE(error.find("makes it [5,"), std::string::npos) << error;
}

TEST_F(Mixtral, AMissingExpertIsNamed) {
  write(model_, 2000);
  json index = json::parse(std::ifstream(folder_ / "model.safetensors.index.json"));
  const std::string name = "model.layers.1.block_sparse_moe.experts.2.w3.weight";
  const std::string file = index["weight_map"][name];
  EXPECT_EQ(std::count(index["weight_map"].begin(), index["weight_map"].end(), json(file)), 1);
  index["weight_map"].erase(name);
  std::ofstream(folder_ / "model.safetensors.index.json") << index;
  EXPECT_NE(refusal().find("the first is '" + name), std::string::npos);
}

TEST_F(Mixtral, AnotherNumberOfExpertsIsRefusedWithATensorOfTheFirst) {
  write(model_);
  set_in_config("num_local_experts", 3);
  EXPECT_NE(refusal().find("block_sparse_moe.experts.3.w1.weight' is in the file, but not"),
            std::string::npos);
  set_in_config("num_local_experts", 5);
  const std::string error = refusal();
  EXPECT_NE(error.find("gate.weight' is [4,24], but config.json makes it [5,24]"), std::string::npos)
      << error;
}

TEST_F(Mixtral, AnotherWidthIsRefused) {
  write(model_);
  set_in_config("intermediate_size", 28);
  EXPECT_NE(refusal().find("is [20,24], but config.json makes it [28,24]"), std::string::npos);
}

TEST_F(Mixtral, KeysThatOtherProgramsWriteAsNullOrLeaveOutAreRead) {
  write(model_);
  json changed = config();
  for (const char* key : {"rope_theta", "rms_norm_eps", "sliding_window"}) changed.erase(key);
  changed["head_dim"] = nullptr;
  std::ofstream(folder_ / "config.json") << changed;
  const ModelConfig read = read_hugging_face_config(folder_);
  EXPECT_EQ(read.rope_theta, 1e6);
  EXPECT_EQ(read.norm_epsilon, 1e-5);
}

TEST_F(Mixtral, AWindowShorterThanTheContextIsRefused) {
  write(model_);
  set_in_config("sliding_window", 16);
  EXPECT_EQ(read_hugging_face_config(folder_), model_.transformer.config());
  set_in_config("sliding_window", 8);
  EXPECT_NE(refusal().find("\"sliding_window\" is 8"), std::string::npos);
}

TEST_F(Mixtral, AnImpossibleNumberOfExpertsIsRefused) {
  write(model_);
  set_in_config("num_experts_per_tok", 5);
  EXPECT_NE(refusal().find("model.experts.active = 5: expected a whole number from 1 to 4"),
            std::string::npos);
  set_in_config("num_experts_per_tok", "two");
  EXPECT_NE(refusal().find("not the configuration of a Mixtral model"), std::string::npos);
}

std::string reason_against(const std::function<void(ExpertConfig&)>& change) {
  ModelConfig config = expert_config();
  change(config.experts);
  return why_not_hugging_face(config, RoutingState(config));
}

TEST_F(Mixtral, WhatItCannotExpressIsNamed) {
  EXPECT_EQ(reason_against([](ExpertConfig&) {}), "");
  EXPECT_NE(
      reason_against([](ExpertConfig& e) { e.router = RouterKind::kSwitch; }).find("router = \"switch\""),
      std::string::npos);
  EXPECT_NE(reason_against([](ExpertConfig& e) { e.shared = 1; }).find("shared = 1"), std::string::npos);
  EXPECT_NE(reason_against([](ExpertConfig& e) { e.every = 2; }).find("every = 2"), std::string::npos);
  EXPECT_NE(reason_against([](ExpertConfig& e) { e.capacity_factor = 1.9; }).find("capacity_factor = 1.9"),
            std::string::npos);
  EXPECT_EQ(reason_against([](ExpertConfig& e) { e.capacity_factor = 2; }), "");  // takes any token
}

TEST_F(Mixtral, ABiasThatIsNotZeroIsNamed) {
  Transformer& model = model_.transformer;
  EXPECT_EQ(why_not_hugging_face(model.config(), model.routing()), "");
  model.routing().bias_E(1)[3] = 0.25;
  const std::string reason = why_not_hugging_face(model.config(), model.routing());
  EXPECT_NE(reason.find("expert 3 of layer 1 competes with 0.25 more"), std::string::npos) << reason;
}

}  // namespace
}  // namespace fern
