// Training a tiny Llama against PyTorch's numbers (llama_golden.json, made by make_llama_golden.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <memory>

#include "framework/model/transformer.h"
#include "framework/optim/adamw.h"
#include "framework/optim/grad_norm.h"

namespace fern {
namespace {

class IgnoreGradients : public GradSink {
 public:
  void add(const Parameter&) override {}
};

// The script's uniform(): the fraction of a large sine.
double uniform(int stream, int64_t index) {
  const double scaled =
      std::sin(12.9898 * static_cast<double>(index + 1) + 78.233 * static_cast<double>(stream)) * 43758.5453;
  return scaled - std::floor(scaled);
}

ModelConfig config_of(const nlohmann::json& json) {
  return {.vocabulary = json.at("vocabulary"),
          .layers = json.at("layers"),
          .hidden = json.at("hidden"),
          .heads = json.at("heads"),
          .kv_heads = json.at("kv_heads"),
          .ffn = json.at("ffn"),
          .context = json.at("context"),
          .tie_embeddings = false};
}

// All documents back to back; they fill whole sequences.
MicroBatch packed(const std::vector<std::vector<int32_t>>& documents, int64_t context) {
  MicroBatch batch;
  batch.context = context;
  for (const auto& document : documents) {
    const auto start = static_cast<int32_t>(batch.input_T.size());
    for (size_t i = 0; i < document.size(); ++i) {
      const bool last = i + 1 == document.size();
      batch.input_T.push_back(document[i]);
      batch.target_T.push_back(last ? -1 : document[i + 1]);
      batch.document_start_T.push_back(start);
      batch.loss_tokens += !last;
    }
  }
  for (int32_t target : batch.target_T)
    batch.loss_weight_T.push_back(target < 0 ? 0.0f : 1.0f / static_cast<float>(batch.loss_tokens));
  batch.sequences = static_cast<int64_t>(batch.input_T.size()) / context;
  return batch;
}

class LlamaGolden : public testing::Test {
 protected:
  LlamaGolden()
      : golden_(nlohmann::json::parse(std::ifstream(std::getenv("FERN_GOLDEN")))),
        model_(config_of(golden_.at("config"))),
        batch_(packed(golden_.at("documents"), model_.config().context)),
        arena_(sized_arena("golden", [this](Arena& arena) { allocate(arena); })) {
    for (size_t i = 0; i < golden_.at("gradients").size(); ++i) fill(static_cast<int>(i));
  }

  AdamWConfig adamw() const {
    const nlohmann::json& json = golden_.at("optimizer");
    return {.beta1 = json.at("beta1"),
            .beta2 = json.at("beta2"),
            .epsilon = json.at("epsilon"),
            .weight_decay = json.at("weight_decay")};
  }

  // Mean loss of the batch; leaves its gradient.
  double forward_backward() {
    fill_zero(model_.parameters().gradients());
    std::vector<double> sequence_loss(static_cast<size_t>(batch_.sequences));
    const double loss = model_.forward(*activations_, sequence_loss, batch_, stream_);
    model_.backward(*activations_, batch_, sink_, stream_);
    return loss;
  }

  void update(int64_t count) {
    const nlohmann::json& json = golden_.at("optimizer");
    std::vector<double> squares(static_cast<size_t>(gradient_chunks(model_.parameters())));
    square_sums(squares, model_.parameters(), optimizer_->slice());
    const double scale = std::min(1.0, json.at("clip_norm").get<double>() / norm_of(squares));
    optimizer_->step(model_.parameters(), json.at("learning_rate"), scale, count, stream_);
  }

  nlohmann::json golden_;
  Transformer model_;
  MicroBatch batch_;
  std::unique_ptr<Transformer::Activations> activations_;
  std::unique_ptr<AdamW> optimizer_;
  Arena arena_;
  IgnoreGradients sink_;
  Stream stream_;

 private:
  void allocate(Arena& arena) {
    model_.parameters().allocate(arena, DType::kF32);
    activations_ = model_.allocate_activations(arena, static_cast<int64_t>(batch_.input_T.size()));
    optimizer_ = std::make_unique<AdamW>(adamw(), model_.parameters(),
                                         Slice{0, model_.parameters().padded_elements()}, arena);
  }

  // The script numbers the streams by PyTorch's order of parameters, which is the file's.
  void fill(int stream) {
    const std::string name = golden_.at("gradients").at(static_cast<size_t>(stream)).at("name");
    const int index = model_.parameters().find(name);
    ASSERT_GE(index, 0) << name;
    const bool norm = model_.parameters().list()[static_cast<size_t>(index)].kind == ParameterKind::kNorm;
    const std::span<float> values = model_.parameters().value(index).values<float>();
    for (size_t i = 0; i < values.size(); ++i) {
      const double noise = 2 * uniform(stream, static_cast<int64_t>(i)) - 1;
      values[i] = static_cast<float>(norm ? 1 + 0.2 * noise : 0.3 * noise);
    }
  }
};

TEST_F(LlamaGolden, EveryGradientEqualsPyTorchs) {
  forward_backward();
  EXPECT_EQ(golden_.at("gradients").size(), model_.parameters().list().size());
  for (const nlohmann::json& expected : golden_.at("gradients")) {
    const std::string name = expected.at("name");
    const auto values = expected.at("values").get<std::vector<double>>();
    const std::span<float> gradient =
        model_.parameters().gradient(model_.parameters().find(name)).values<float>();
    ASSERT_EQ(gradient.size(), values.size()) << name;
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(gradient[i], values[i], 1e-5 * std::abs(values[i]) + 1e-6) << name << "[" << i << "]";
  }
}

TEST_F(LlamaGolden, TenLossesEqualPyTorchs) {
  const auto losses = golden_.at("losses").get<std::vector<double>>();
  ASSERT_EQ(losses.size(), 10u);
  for (size_t step = 0; step < losses.size(); ++step) {
    EXPECT_NEAR(forward_backward(), losses[step], 1e-5 * losses[step]) << "step " << step;
    update(static_cast<int64_t>(step) + 1);
  }
}

}  // namespace
}  // namespace fern
