// The gradient seam over data-parallel ranks: every rank adds up its slice of all ranks' sums, in the order
// of the tree, so the result is the solo reducer's to the bit.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "framework/core/arena.h"
#include "framework/model/parameters.h"
#include "framework/train/reducers.h"
#include "framework/train/shard_sum.h"
#include "parallel/communicator.h"
#include "parallel/reduction_plan.h"

namespace fern {

class DataReducer final : public GradReducer {
 public:
  // Takes its buffers from `arena`, which may be measuring. REQUIRES: as parallelize(); the plan is of this
  // rank.
  DataReducer(const Parameters& parameters, ReductionPlan plan, Communicator& communicator, Arena& arena);
  void add(const Parameter&) override {}
  int64_t first_shard() const override { return sum_.first(); }
  int64_t last_shard() const override { return sum_.last(); }
  void begin_shard() override { sum_.begin_shard(); }
  void end_shard() override { sum_.end_shard(); }
  void finish() override;
  Slice slice() const override { return plan_.kept(); }
  Slice counted() const override { return plan_.slice(); }
  void gather_values() override;
  void gather_slices(std::span<float> whole, std::span<const float> slice) override;
  bool is_writer() const override { return plan_.rank == 0; }

 private:
  void start_piece(int64_t i);
  void finish_piece(int64_t i);

  ReductionPlan plan_;
  Communicator& communicator_;
  ShardSum sum_;
  Tensor values_, gradients_;
  std::vector<int64_t> counts_;  // elements of each rank's slice
  // Two pieces are under way at a time: all nodes' sources, and where the other ranks' arrive.
  std::array<Tensor, 2> arrivals_;
  std::array<std::vector<float*>, 2> sources_;
  std::vector<Incoming> incoming_;
  std::vector<Outgoing> outgoing_;
};

}  // namespace fern
