// The seam of pipeline parallelism: how a process that holds some of the layers is joined to those that hold
// the ones before and after. The framework owns it, with a one-process version; parallel/ implements it.
#pragma once

#include <cstdint>

#include "framework/core/background.h"
#include "framework/core/tensor.h"
#include "framework/model/transformer.h"

namespace fern {

// Tensors are T x D of the model's dtype (Transformer::input_of() and its like), of which ranks that share
// matrices exchange each its rows with the one of the same share. What comes into the model's first part and
// goes out of its last is not exchanged; where stages hold several parts, the last one's go on to the first.
// Each kind comes in the order in which the other side sends it, and that is the order of the schedule.
// Sending does not wait for the other side; what was sent moves while ops run, from one to the next.
class StageLink : public Background {
 public:
  // Which of the stages this is.
  virtual int64_t stage() const = 0;
  virtual int64_t stages() const = 0;
  // A step of so many micro-batches here begins; fills the model's copy of a tied embedding, if it has one.
  virtual void begin_step(const Transformer& model, int64_t micro_batches) = 0;
  virtual void receive_activations(const Tensor& x_TD) = 0;
  virtual void send_activations(const Tensor& x_TD) = 0;
  virtual void receive_gradient(const Tensor& dx_TD) = 0;
  virtual void send_gradient(const Tensor& dx_TD) = 0;
  // Of a tied model, from the first of several stages to the last: the gradient that a micro-batch's backward
  // has left there. Receiving it is false where none comes.
  virtual void send_embedded(const Tensor& dx_TD) = 0;
  virtual bool receive_embedded(const Tensor& dx_TD) = 0;
  // All that was sent has come.
  virtual void end_step() = 0;
  // What this process has sent so far.
  virtual int64_t sent_bytes() const = 0;
};

// All layers are here.
class SoloLink final : public StageLink {
 public:
  int64_t stage() const override { return 0; }
  int64_t stages() const override { return 1; }
  void go_on() override {}
  void begin_step(const Transformer&, int64_t) override {}
  void receive_activations(const Tensor&) override {}
  void send_activations(const Tensor&) override {}
  void receive_gradient(const Tensor&) override {}
  void send_gradient(const Tensor&) override {}
  void send_embedded(const Tensor&) override {}
  bool receive_embedded(const Tensor&) override { return false; }
  void end_step() override {}
  int64_t sent_bytes() const override { return 0; }
};

}  // namespace fern
