// The seam through which processes that hold different weights, or shares of them, learn of each other's
// patterns. The framework owns it, with a one-process version; parallel/ implements it.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace fern {

// All processes make each call, in the same order.
class PatternLink {
 public:
  virtual ~PatternLink() = default;
  // Whether this process speaks for the weights that it holds, or for its shares of them: its own experts
  // (Parameters::own_experts()), or all others. Of the processes that hold the same ones, one does.
  virtual bool speaks(bool for_own_experts) const = 0;
  // Element by element over all processes. REQUIRES for exactness: whole numbers, or elements that are
  // non-zero on one process at most. A weight counts once where only those that speak for it, or for its
  // shares, tell of it.
  virtual void sum(std::span<double> numbers) = 0;
  // Brings what one process tells of a weight (of those that speak for its shares the first; the others
  // nothing) to the one that writes checkpoints; empty on the others.
  virtual std::vector<uint32_t> bring(std::vector<uint32_t> words) = 0;
  // How many processes share each matrix, and which share this one has.
  virtual int64_t shares() const = 0;
  virtual int64_t share() const = 0;
  // What the holders of each share of the matrices here tell, by share. Those of other matrices make the same
  // calls or none.
  virtual std::vector<std::vector<uint32_t>> gather(std::vector<uint32_t> words) = 0;
  virtual bool is_writer() const = 0;
};

// All weights are here, and nobody shares them.
class SoloPatternLink final : public PatternLink {
 public:
  bool speaks(bool) const override { return true; }
  void sum(std::span<double>) override {}
  std::vector<uint32_t> bring(std::vector<uint32_t> words) override { return words; }
  int64_t shares() const override { return 1; }
  int64_t share() const override { return 0; }
  std::vector<std::vector<uint32_t>> gather(std::vector<uint32_t> words) override {
    return {std::move(words)};
  }
  bool is_writer() const override { return true; }
};

}  // namespace fern
