// The gradient seam over data-parallel ranks: a bucket of the gradients is exchanged as soon as backward has
// completed it, while backward goes on. Each rank adds up its part of all ranks' sums in the order of the
// tree, so the result is the solo reducer's to the bit.
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
#include "parallel/gradient_tail.h"
#include "parallel/reduction_plan.h"

namespace fern {

// Consecutive parameters, and their part of the flat buffers.
struct ParameterRegion {
  std::span<const Parameter> list;
  Tensor values, gradients;  // flat, whole chunks
};
ParameterRegion whole_region(const Parameters& parameters);

class DataReducer final : public GradReducer {
 public:
  // Takes its buffers from `arena`, which may be measuring. REQUIRES: as parallelize(); the plan is of this
  // rank.
  DataReducer(const Parameters& parameters, ReductionPlan plan, Communicator& communicator, Arena& arena);
  // Of a region of them: slices are counted from its begin.
  DataReducer(const ParameterRegion& region, ReductionPlan plan, Communicator& communicator, Arena& arena);
  // Of `gradients` (f32, flat, whole chunks) that are no parameters': backward reports none of them.
  DataReducer(const Tensor& gradients, ReductionPlan plan, Communicator& communicator, Arena& arena);
  // In the last backward of the last shard, starts what can start and moves what is under way; never waits.
  void add(const Parameter& parameter) override;
  int64_t first_shard() const override { return sum_.first(); }
  int64_t last_shard() const override { return sum_.last(); }
  void begin_shard() override;
  void begin_last_micro_batch() override { completing_ = sum_.in_last_shard(); }
  void end_shard() override { sum_.end_shard(); }
  // Waits for the buckets that are not done.
  void finish() override;
  Slice slice() const override { return plan_.kept_by(plan_.rank); }
  Slice counted() const override { return plan_.slice(); }
  void gather_values() override;
  void gather_everywhere(std::span<float> whole, std::span<const float> slice) override;
  Slice slice_of(int64_t padded_elements) const override;
  void set_layout(const Parameters& parameters) override;
  int64_t sent_bytes() const override { return sent_bytes_; }
  // Buckets of this step whose exchange has started.
  int64_t started() const { return started_; }

 private:
  enum class Phase { kIdle, kCollecting, kDelivering };
  // One bucket on its way.
  struct Lane {
    Phase phase = Phase::kIdle;
    int64_t bucket = 0;
    Tensor arrivals;              // the other ranks' nodes of this rank's part
    std::vector<float*> sources;  // all ranks' nodes of it
  };

  void set_plan(ReductionPlan plan);

  // Buckets go on the lanes in turn.
  static int number_of(int64_t bucket) { return static_cast<int>(bucket % kExchangeLanes); }
  Lane& lane_of(int64_t bucket) { return lanes_[static_cast<size_t>(number_of(bucket))]; }
  // Starts what can start, and moves what is under way.
  void progress();
  void collect(int64_t bucket);
  // Its exchange is done: from collecting to delivering, from delivering to idle.
  void advance(int64_t bucket);
  void start_exchange(int64_t bucket);
  Exchange exchange_of(int64_t bucket) const;
  template <typename Work>
  void for_each_neighbour(const Work& work) const;

  ReductionPlan plan_;
  Communicator& communicator_;
  ShardSum sum_;
  GradientTail tail_;
  Tensor values_, gradients_;
  std::vector<int64_t> counts_;  // elements of each rank's slice
  std::array<Lane, kExchangeLanes> lanes_;
  bool completing_ = false;  // what backward reports is complete for the step
  int64_t started_ = 0, done_ = 0, sent_bytes_ = 0;
  std::vector<Incoming> incoming_;  // of the exchange that is about to start
  std::vector<Outgoing> outgoing_;
};

}  // namespace fern
