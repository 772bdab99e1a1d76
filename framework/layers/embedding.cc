#include "framework/layers/embedding.h"

#include "framework/ops/embedding.h"
#include "framework/sparsity/sparse_embedding.h"

namespace fern {

Embedding::Embedding(Parameters& parameters, TensorAxis& axis, const ModelConfig& config)
    : parameters_(parameters),
      axis_(axis),
      place_(axis.rows(config.vocabulary)),
      run_{
          parameters.add("model.embed_tokens.weight", {axis.own(config.vocabulary).elements(), config.hidden},
                         ParameterKind::kEmbedding, kInitialStd, 1, place_),
          1} {
  parameters.add_run(run_);
}

void Embedding::forward(Tensor x_TD, const Tensor& input_T, const Tensor& room_TD, Stream& stream) const {
  expect_ids(input_T, place_.whole);
  const Tensor sum_TD = axis_.room_of_sum(x_TD, room_TD);
  if (const Pattern* pattern = parameters_.pattern_of(run_))
    sparse_embedding_forward(sum_TD, parameters_.value(weight()), *pattern, input_T, place_.begin, stream);
  else
    embedding_forward_rows(sum_TD, parameters_.value(weight()), input_T, place_.begin, stream);
  axis_.reduce_scatter(x_TD, sum_TD, stream);
}

void Embedding::backward(const Tensor& gradient, const Tensor& own_dx_TD, const Tensor& input_T,
                         const Tensor& room_TD, Stream& stream) const {
  const Tensor dx_TD = axis_.gathered(own_dx_TD, room_TD, stream);
  if (const Pattern* pattern = parameters_.pattern_of(run_))
    sparse_embedding_backward(gradient, dx_TD, *pattern, input_T, place_.begin, stream);
  else
    embedding_backward_rows(gradient, dx_TD, input_T, place_.begin, stream);
  for (const ScoredRows& rows : parameters_.scored_rows())
    if (rows.run == run_)
      embedding_backward_rows(rows.gradient_RI, dx_TD, input_T, place_.begin + rows.first_row, stream);
}

}  // namespace fern
