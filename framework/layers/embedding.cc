#include "framework/layers/embedding.h"

#include "framework/ops/embedding.h"
#include "framework/sparsity/sparse_embedding.h"

namespace fern {

Embedding::Embedding(Parameters& parameters, const ModelConfig& config)
    : parameters_(parameters),
      run_{parameters.add("model.embed_tokens.weight", {config.vocabulary, config.hidden},
                          ParameterKind::kEmbedding, kInitialStd),
           1} {
  parameters.add_run(run_);
}

void Embedding::forward(Tensor x_TD, const Tensor& input_T, Stream& stream) const {
  const Pattern* pattern = parameters_.pattern_of(run_);
  if (pattern == nullptr) return embedding_forward(x_TD, parameters_.value(weight()), input_T, stream);
  expect_ids(input_T, pattern->rows());
  sparse_embedding_forward(x_TD, parameters_.value(weight()), *pattern, input_T, stream);
}

void Embedding::backward(const Tensor& gradient, const Tensor& dx_TD, const Tensor& input_T,
                         Stream& stream) const {
  if (const Pattern* pattern = parameters_.pattern_of(run_))
    sparse_embedding_backward(gradient, dx_TD, *pattern, input_T, stream);
  else
    embedding_backward(gradient, dx_TD, input_T, stream);
  for (const ScoredRows& rows : parameters_.scored_rows())
    if (rows.run == run_) embedding_backward_rows(rows.gradient_RI, dx_TD, input_T, rows.first_row, stream);
}

}  // namespace fern
