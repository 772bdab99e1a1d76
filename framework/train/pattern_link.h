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
  // Element by element over all processes, of which those that hold the same weights count once. REQUIRES for
  // exactness: each element is non-zero for the holders of one weight only.
  virtual void sum(std::span<double> numbers) = 0;
  // Brings what the holders of one weight tell (all of them the same; the others nothing) to the process that
  // writes checkpoints; empty on the others.
  virtual std::vector<uint32_t> bring(std::vector<uint32_t> words) = 0;
  virtual bool is_writer() const = 0;
};

// All weights are here.
class SoloPatternLink final : public PatternLink {
 public:
  void sum(std::span<double>) override {}
  std::vector<uint32_t> bring(std::vector<uint32_t> words) override { return words; }
  bool is_writer() const override { return true; }
};

}  // namespace fern
