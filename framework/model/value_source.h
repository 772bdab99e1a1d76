// The seam of ZeRO 3: where the values of parameters come from while they are used. The framework owns it,
// with a one-process version; parallel/ implements it over MPI.
#pragma once

#include <cstdint>

#include "framework/model/parameters.h"

namespace fern {

// All processes that share values call it alike, in the order of their micro-batches. What is fetched is let
// go before its values change, and before it is fetched again.
class ValueSource {
 public:
  virtual ~ValueSource() = default;
  // The values of these parameters, one after another in the list, are here from now on.
  virtual void fetch(ParameterRun parameters) = 0;
  // They are read no more.
  virtual void let_go(ParameterRun parameters) = 0;
  // What this process has sent to others so far.
  virtual int64_t sent_bytes() const = 0;
};

// All of them are here.
class HeldValues final : public ValueSource {
 public:
  void fetch(ParameterRun) override {}
  void let_go(ParameterRun) override {}
  int64_t sent_bytes() const override { return 0; }
};

// Values that are here for as long as this lives; none of an empty run.
class FetchedValues {
 public:
  FetchedValues(ValueSource& source, ParameterRun parameters) : source_(source), parameters_(parameters) {
    if (parameters_.count > 0) source_.fetch(parameters_);
  }
  ~FetchedValues() {
    if (parameters_.count > 0) source_.let_go(parameters_);
  }
  FetchedValues(const FetchedValues&) = delete;
  FetchedValues& operator=(const FetchedValues&) = delete;

 private:
  ValueSource& source_;
  ParameterRun parameters_;
};

}  // namespace fern
