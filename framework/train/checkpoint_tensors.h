// The seam through which a save gets the tensors of the whole model, whichever processes hold them: one after
// the other, so that none needs memory for all.
#pragma once

#include "framework/checkpoint/tensor_source.h"
#include "framework/model/parameters.h"
#include "framework/optim/adamw.h"

namespace fern {

// All processes call begin(). Then the one that writes asks for every tensor, in the order of TensorSource;
// the others, and the one that writes when it has given up, go through what was not asked for with finish().
// `whole` has the whole model's patterns on the process that writes; until finish() it stays as it is.
class CheckpointTensors : public TensorSource {
 public:
  virtual bool is_writer() const = 0;
  virtual void begin(const Parameters& whole) = 0;
  virtual void finish() = 0;
};

// All of them are here.
class OwnTensors final : public CheckpointTensors {
 public:
  // Borrows both.
  OwnTensors(const Parameters& parameters, const AdamW& optimizer)
      : parameters_(parameters), optimizer_(optimizer) {}
  bool is_writer() const override { return true; }
  void begin(const Parameters&) override {}
  void finish() override {}
  bool has_moments() const override { return true; }
  std::span<const float> get(TensorKind kind, int index) override;

 private:
  const Parameters& parameters_;
  const AdamW& optimizer_;
};

}  // namespace fern
