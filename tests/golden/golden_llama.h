// The tiny Llama, or Qwen3, of make_llama_golden.py: its weights, documents and optimizer from a golden file.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <optional>

#include "framework/model/transformer.h"
#include "framework/model/whole_matrix.h"
#include "framework/optim/adamw.h"
#include "framework/optim/grad_norm.h"

namespace fern {

// The script's uniform(): the fraction of a large sine.
inline double golden_uniform(int stream, int64_t index) {
  const double scaled =
      std::sin(12.9898 * static_cast<double>(index + 1) + 78.233 * static_cast<double>(stream)) * 43758.5453;
  return scaled - std::floor(scaled);
}

inline ModelConfig golden_config(const nlohmann::json& json) {
  return {.vocabulary = json.at("vocabulary"),
          .layers = json.at("layers"),
          .hidden = json.at("hidden"),
          .heads = json.at("heads"),
          .kv_heads = json.at("kv_heads"),
          .ffn = json.at("ffn"),
          .context = json.at("context"),
          .tie_embeddings = false,
          .qk_norm = json.value("qk_norm", false)};
}

// All documents back to back; they fill whole sequences.
inline MicroBatch packed_documents(const std::vector<std::vector<int32_t>>& documents, int64_t context) {
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
  batch.language_S.assign(static_cast<size_t>(batch.sequences), 0);
  batch.length_S.assign(static_cast<size_t>(batch.sequences), static_cast<int32_t>(context));
  return batch;
}

class GoldenLlama : public testing::Test {
 protected:
  explicit GoldenLlama(const std::string& file)
      : golden_(nlohmann::json::parse(std::ifstream(file))),
        model_(golden_config(golden_.at("config"))),
        batch_(packed_documents(golden_.at("documents"), model_.config().context)) {}

  Parameters& parameters() { return model_.parameters(); }

  // Takes the memory; patterns come before it. The parameters are numbered as the script has them.
  void begin(const std::vector<std::string>& names) {
    arena_.emplace(sized_arena("golden", [this](Arena& arena) {
      parameters().allocate(arena, DType::kF32);
      activations_ = model_.allocate_activations(arena, static_cast<int64_t>(batch_.input_T.size()));
      optimizer_ =
          std::make_unique<AdamW>(adamw(), parameters(), Slice{0, parameters().padded_elements()}, arena);
    }));
    for (size_t i = 0; i < names.size(); ++i) fill(static_cast<int>(i), names[i]);
    parameters().note_change();
  }

  // Mean loss of the batch; leaves its gradient.
  double forward_backward() {
    fill_zero(parameters().gradients());
    std::vector<double> sequence_loss(static_cast<size_t>(batch_.sequences));
    const double loss = model_.forward(*activations_, sequence_loss, batch_, stream_);
    model_.backward(*activations_, batch_, sink_, stream_);
    return loss;
  }

  void update(int64_t count) {
    const nlohmann::json& json = golden_.at("optimizer");
    std::vector<double> squares(static_cast<size_t>(gradient_chunks(parameters())));
    square_sums(squares, parameters(), optimizer_->slices());
    const double scale = std::min(1.0, json.at("clip_norm").get<double>() / norm_of(squares));
    optimizer_->step(parameters(), json.at("learning_rate"), scale, count, stream_);
  }

  nlohmann::json golden_;
  Transformer model_;
  MicroBatch batch_;
  std::unique_ptr<AdamW> optimizer_;

 private:
  class IgnoreGradients : public GradSink {
   public:
    void add(const Parameter&) override {}
  };

  AdamWConfig adamw() const {
    const nlohmann::json& json = golden_.at("optimizer");
    return {.beta1 = json.at("beta1"),
            .beta2 = json.at("beta2"),
            .epsilon = json.at("epsilon"),
            .weight_decay = json.at("weight_decay")};
  }

  void fill(int stream, const std::string& name) {
    const int index = parameters().find(name);
    ASSERT_GE(index, 0) << name;
    const Parameter& parameter = parameters().list()[static_cast<size_t>(index)];
    std::vector<float> values(static_cast<size_t>(parameter.shape.elements()));
    for (size_t i = 0; i < values.size(); ++i) {
      const double noise = 2 * golden_uniform(stream, static_cast<int64_t>(i)) - 1;
      values[i] = static_cast<float>(parameter.kind == ParameterKind::kNorm ? 1 + 0.2 * noise : 0.3 * noise);
    }
    take_whole(parameters(), index, values);
  }

  std::optional<Arena> arena_;
  std::unique_ptr<Transformer::Activations> activations_;
  IgnoreGradients sink_;
  Stream stream_;
};

}  // namespace fern
