// The table that turns token ids into vectors. V vocabulary, D hidden, T tokens.
#pragma once

#include "framework/core/tensor.h"
#include "framework/model/config.h"
#include "framework/model/grad_sink.h"
#include "framework/model/parameters.h"

namespace fern {

class Embedding {
 public:
  // Adds "model.embed_tokens.weight" to the parameters, which are borrowed. With a pattern, rows are read and
  // their gradient is kept where weights exist.
  Embedding(Parameters& parameters, const ModelConfig& config);

  int weight() const { return run_.first; }
  // Writes x. input_T: i32 ids. Errors: an id outside the vocabulary.
  void forward(Tensor x_TD, const Tensor& input_T, Stream& stream) const;
  // Adds to the table's gradient, and to that of its scored rows (Parameters::scored_rows()); tells `sink`.
  void backward(const Tensor& dx_TD, const Tensor& input_T, GradSink& sink, Stream& stream) const;

 private:
  const Parameters& parameters_;
  ParameterRun run_;
};

}  // namespace fern
