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
  // Adds to `gradient`, which is shaped as the table's, and to that of its scored rows
  // (Parameters::scored_rows()).
  void backward(const Tensor& gradient, const Tensor& dx_TD, const Tensor& input_T, Stream& stream) const;
  Tensor gradient() const { return parameters_.gradient(weight()); }
  // Tells `sink` that the table's gradient is complete.
  void report(GradSink& sink) const { sink.add(parameters_.list()[static_cast<size_t>(weight())]); }

 private:
  const Parameters& parameters_;
  ParameterRun run_;
};

}  // namespace fern
