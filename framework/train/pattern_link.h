// The seam through which processes that hold different weights learn of each other's patterns. The framework
// owns it, with a one-process version; parallel/ implements it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fern {

// All processes make each call, in the same order.
class PatternLink {
 public:
  virtual ~PatternLink() = default;
  // Whether this process speaks for the weights that it holds: its own experts (Parameters::own_experts()),
  // or all others. Of the processes that hold the same ones, one does.
  virtual bool speaks(bool for_own_experts) const = 0;
  // Element by element over all processes. REQUIRES for exactness: each element is non-zero on one process at
  // most, that speaks for what it is about.
  virtual void sum(std::span<double> numbers) = 0;
  // Brings what the process that speaks for a weight tells (the others nothing) to the one that writes
  // checkpoints; empty on the others.
  virtual std::vector<uint32_t> bring(std::vector<uint32_t> words) = 0;
  virtual bool is_writer() const = 0;
};

// All weights are here.
class SoloPatternLink final : public PatternLink {
 public:
  bool speaks(bool) const override { return true; }
  void sum(std::span<double>) override {}
  std::vector<uint32_t> bring(std::vector<uint32_t> words) override { return words; }
  bool is_writer() const override { return true; }
};

}  // namespace fern
