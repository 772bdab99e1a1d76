// The table that turns token ids into vectors. V vocabulary, D hidden, T tokens; x and dx have those of this
// rank.
#pragma once

#include "framework/core/tensor.h"
#include "framework/layers/tensor_axis.h"
#include "framework/model/config.h"
#include "framework/model/grad_sink.h"
#include "framework/model/parameters.h"

namespace fern {

class Embedding {
 public:
  // Adds this rank's rows of "model.embed_tokens.weight" to the parameters. They and the axis are borrowed.
  // With a pattern, rows are read and their gradient is kept where weights exist.
  Embedding(Parameters& parameters, TensorAxis& axis, const ModelConfig& config);

  int weight() const { return run_.first; }
  // Writes x. input_T: i32 ids of all tokens. room_TD is where several ranks make their sum. Errors: an id
  // outside the vocabulary.
  void forward(Tensor x_TD, const Tensor& input_T, const Tensor& room_TD, Stream& stream) const;
  // Adds to `gradient`, which is shaped as the table's, and to that of its scored rows
  // (Parameters::scored_rows()). Several ranks gather dx in room_TD.
  void backward(const Tensor& gradient, const Tensor& dx_TD, const Tensor& input_T, const Tensor& room_TD,
                Stream& stream) const;
  Tensor gradient() const { return parameters_.gradient(weight()); }
  // Tells `sink` that the table's gradient is complete.
  void report(GradSink& sink) const { sink.add(parameters_.list()[static_cast<size_t>(weight())]); }

 private:
  const Parameters& parameters_;
  TensorAxis& axis_;
  Placement place_;
  ParameterRun run_;
};

}  // namespace fern
