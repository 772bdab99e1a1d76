// What SET and RigL share: the smallest weights go and as many others come.
#pragma once

#include "framework/sparsity/block_choice.h"
#include "framework/sparsity/methods/scheduled_drops.h"

namespace fern {

class DropAndGrow : public ScheduledDrops {
 public:
  using ScheduledDrops::ScheduledDrops;

  // Drops the share of existing blocks that is left of drop_fraction at `step`, but no more than may grow;
  // grows as many. With config.global the smallest of all weights go, though the last block of none.
  std::vector<Change> counts(int64_t step, std::span<const WeightView> views) const override;
  Pattern next(int64_t step, size_t weight, const WeightView& view, Change change) const override;

 protected:
  // How many of each cell may grow.
  virtual std::vector<int64_t> room(size_t weight, const WeightView& view) const = 0;
  // How the grown are spread over all weights: `count` in all, at most most[i] of weight i.
  virtual std::vector<int64_t> spread(std::span<const WeightView> views, std::span<const int64_t> most,
                                      int64_t count) const = 0;
  // Positions to grow, counts[cell] of each cell, cell after cell and any order within one. REQUIRES: within
  // room().
  virtual std::vector<uint64_t> grown(int64_t step, size_t weight, const WeightView& view,
                                      std::span<const int64_t> counts) const = 0;

 private:
  std::vector<Change> global_counts(int64_t step, std::span<const WeightView> views,
                                    std::span<const int64_t> most) const;
};

}  // namespace fern
