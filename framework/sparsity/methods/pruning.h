// What gradual and one-shot pruning by magnitude share: the smallest blocks go down to a number that is
// known beforehand, and none come.
#pragma once

#include "framework/sparsity/block_choice.h"
#include "framework/sparsity/method.h"

namespace fern {

class MagnitudePruning : public Method {
 public:
  explicit MagnitudePruning(MethodSetup setup);

  Pattern initial(size_t weight) const override;
  int64_t initial_blocks(size_t weight) const override { return first_budget_[weight]; }
  std::vector<Change> counts(int64_t step, std::span<const WeightView> views) const override;
  Pattern next(int64_t step, size_t weight, const WeightView& view, Change change) const override;

 protected:
  // Share of the way from the initial sparsity to the final one, once the update after `step` is done.
  virtual double progress(int64_t step) const = 0;

 private:
  std::vector<int64_t> first_budget_;  // blocks of each weight before any pruning
};

}  // namespace fern
