#include "framework/layers/embedding.h"

#include "framework/ops/embedding.h"

namespace fern {

Embedding::Embedding(Parameters& parameters, const ModelConfig& config)
    : parameters_(parameters),
      weight_(parameters.add("model.embed_tokens.weight", {config.vocabulary, config.hidden},
                             ParameterKind::kEmbedding, kInitialStd)) {}

void Embedding::forward(Tensor x_TD, const Tensor& input_T, Stream& stream) const {
  embedding_forward(x_TD, parameters_.value(weight_), input_T, stream);
}

void Embedding::backward(const Tensor& dx_TD, const Tensor& input_T, GradSink& sink, Stream& stream) const {
  embedding_backward(parameters_.gradient(weight_), dx_TD, input_T, stream);
  sink.add(parameters_.list()[static_cast<size_t>(weight_)]);
}

}  // namespace fern
