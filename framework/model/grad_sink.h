// Where backward says which gradients are ready.
#pragma once

#include "framework/model/parameters.h"

namespace fern {

// Told when a parameter's gradient for the current micro-batch is complete. The one-process version does
// nothing.
class GradSink {
 public:
  virtual ~GradSink() = default;
  virtual void add(const Parameter& parameter) = 0;
};

// Where gradients go on to be added to, nobody is told.
class NoSink final : public GradSink {
 public:
  void add(const Parameter&) override {}
};

}  // namespace fern
