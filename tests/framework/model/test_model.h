// A model with its memory, and random micro-batches, for tests.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "framework/core/rng.h"
#include "framework/model/transformer.h"

namespace fern {

// Values larger than the usual initial ones, so that every part of the model matters to the loss.
inline void fill_random(const Tensor& values, uint64_t seed, double std) {
  with_wide_type("test", values.dtype(), [&]<typename T>() {
    uint64_t index = 0;
    for (T& value : values.values<T>())
      value = static_cast<T>(std * random_normal(seed, Purpose::kTest, index++));
  });
}

inline std::vector<double> to_doubles(const Tensor& tensor) {
  return with_wide_type("test", tensor.dtype(), [&]<typename T>() {
    const auto values = tensor.values<T>();
    return std::vector<double>(values.begin(), values.end());
  });
}

// Remembers in which order gradients were finished.
class RecordingSink : public GradSink {
 public:
  void add(const Parameter& parameter) override { names.push_back(parameter.name); }
  std::vector<std::string> names;
};

struct TestModel {
  // Whoever writes values afterwards calls parameters().note_change(), unless the weights are not packed.
  // `tokens` as in allocate_packed_weights().
  explicit TestModel(const ModelConfig& config, uint64_t seed = 1, bool packed = true, int64_t tokens = 1,
                     TensorAxis* axis = nullptr, ContextAxis* context_axis = nullptr,
                     TokenDispatcher* dispatcher = nullptr)
      : model(config, {}, axis, context_axis, dispatcher),
        parameter_arena(sized_arena("parameters", [&](Arena& arena) {
          model.parameters().allocate(arena, wide_of(config.dtype));
          if (packed) model.allocate_packed_weights(arena, tokens);
        })) {
    const Parameters& parameters = model.parameters();
    for (size_t i = 0; i < parameters.list().size(); ++i) {
      const Tensor value = parameters.value(static_cast<int>(i));
      fill_random(value, seed + i, 0.3);
      if (parameters.list()[i].kind == ParameterKind::kNorm)
        with_wide_type("test", value.dtype(), [&]<typename T>() {
          for (T& w : value.values<T>()) w += T{1};
        });
    }
    model.parameters().note_change();
  }

  void prepare(int64_t tokens) {
    activation_arena = std::make_unique<Arena>(sized_arena(
        "activations", [&](Arena& arena) { activations = model.allocate_activations(arena, tokens); }));
  }
  double forward(const MicroBatch& batch) {
    std::vector<double> sequence_loss(static_cast<size_t>(batch.sequences));
    return model.forward(*activations, sequence_loss, batch, stream);
  }
  // The gradient of one micro-batch alone.
  std::vector<double> gradient(const MicroBatch& batch) {
    prepare(static_cast<int64_t>(batch.input_T.size()));
    fill_zero(model.parameters().gradients());
    forward(batch);
    model.backward(*activations, batch, sink, stream);
    return to_doubles(model.parameters().gradients());
  }

  Transformer model;
  Arena parameter_arena;
  std::unique_ptr<Arena> activation_arena;
  std::unique_ptr<Transformer::Activations> activations;
  RecordingSink sink;
  Stream stream;
};

// Sequences of documents of random lengths; the last few positions of each are padding. Half of the
// documents' tokens are targets.
inline MicroBatch random_batch(int64_t vocabulary, int64_t sequences, int64_t context, uint64_t seed) {
  const auto random = [&](int64_t bound, int64_t t, uint32_t what) {
    return static_cast<int32_t>(
        random_below(static_cast<uint64_t>(bound), seed, Purpose::kTest, static_cast<uint64_t>(t), what));
  };
  MicroBatch batch;
  batch.sequences = sequences;
  batch.context = context;
  int32_t start = 0;
  for (int64_t t = 0; t < sequences * context; ++t) {
    const int64_t in_sequence = t % context;
    const bool padding = in_sequence >= context - 2;
    if (in_sequence == 0 || in_sequence == context - 2 || random(5, t, 0) == 0)
      start = static_cast<int32_t>(t);
    const bool target = !padding && random(2, t, 1) == 0;
    batch.input_T.push_back(padding ? 0 : random(vocabulary, t, 2));
    batch.target_T.push_back(target ? random(vocabulary, t, 3) : -1);
    batch.document_start_T.push_back(start);
    batch.loss_weight_T.push_back(target ? 0.05f + 0.01f * static_cast<float>(random(10, t, 4)) : 0.0f);
    batch.tokens += !padding;
    batch.loss_tokens += target;
  }
  batch.language_S.assign(static_cast<size_t>(sequences), 0);
  batch.length_S.assign(static_cast<size_t>(sequences), static_cast<int32_t>(context - 2));
  batch.batch_tokens = batch.tokens;
  return batch;
}

}  // namespace fern
