// The gradient seam over data-parallel ranks: a bucket of the gradients is exchanged as soon as backward has
// completed it, while backward goes on. Each rank adds up its part of all ranks' sums in the order of the
// tree, so the result is the solo reducer's to the bit.
//
// Where the plan deals shards in rounds, this happens in the last backward of every shard, and gradients that
// are exchanged are gradients no longer: their pages go back to the system (release(), arena.h), but for the
// total that this rank keeps. Layers go on seeing one flat buffer, of which memory is what lives: with shards
// of one micro-batch some buckets, what backward is at, and at last the slice.
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
#include "parallel/shared_region.h"

namespace fern {

class DataReducer final : public GradReducer {
 public:
  // Buckets that are on their way at a time.
  static constexpr int kLanes = kValuesLane;
  // Takes its buffers from `arena`, which may be measuring. REQUIRES: as parallelize(); the plan is of this
  // rank.
  DataReducer(const Parameters& parameters, ReductionPlan plan, Communicator& communicator, Arena& arena);
  // Of a region of them: elements are counted from its begin. Of gradients that are no parameters' backward
  // reports none.
  DataReducer(const Region& region, ReductionPlan plan, Communicator& communicator, Arena& arena);
  // In the last backward before an exchange, starts what can start and moves what is under way. Waits only
  // where shards are dealt: until a lane is free for what is complete, so that no more than that lives.
  void add(const Parameter& parameter) override;
  int64_t shards() const override { return plan_.share(); }
  int64_t shard(int64_t i) const override { return plan_.shard(i); }
  void begin_shard() override;
  void begin_last_micro_batch() override { completing_ = sum_.in_last_shard(); }
  // Waits for the round's buckets, where shards are dealt.
  void end_shard() override;
  // Waits for the buckets that are not done.
  void finish() override;
  Slices slices() const override { return kept(); }
  Slices counted() const override { return plan_.slice(); }
  void gather_values() override;
  void gather_everywhere(std::span<float> whole, std::span<const float> slices) override;
  Slices slices_of(const Parameters& parameters) const override;
  void set_layout(const Parameters& parameters) override { set_region(whole_region(parameters)); }
  int64_t sent_bytes() const override { return sent_bytes_; }
  // Buckets of this step whose exchange has started.
  int64_t started() const { return started_; }
  // Starts what can start, and moves what is under way.
  void progress();
  const ReductionPlan& plan() const { return plan_; }
  Communicator& communicator() { return communicator_; }
  // The region's place in the flat buffers.
  int64_t begin() const { return begin_; }
  int64_t elements() const { return gradients_.elements(); }
  // What this rank would keep of a region of so many elements.
  Slice kept_of(int64_t elements) const;
  // As set_layout().
  void set_region(const Region& region);

 private:
  enum class Phase { kIdle, kCollecting, kDelivering };
  // One bucket on its way.
  struct Lane {
    Phase phase = Phase::kIdle;
    int64_t bucket = 0;
    Tensor arrivals;              // the other ranks' nodes of this rank's part
    std::vector<float*> sources;  // what waits of it, and all ranks' nodes
    std::vector<float*> sums;     // where they go
  };

  Slice kept() const { return plan_.kept_by(plan_.rank); }
  void set_plan(ReductionPlan plan);

  // Buckets go on the lanes in turn.
  static int number_of(int64_t bucket) { return static_cast<int>(bucket % kLanes); }
  Lane& lane_of(int64_t bucket) { return lanes_[static_cast<size_t>(number_of(bucket))]; }
  void wait();
  bool has_complete_bucket() const;
  bool in_last_round() const { return round_ + 1 == plan_.rounds.size(); }
  void finish_round();
  void collect(int64_t bucket);
  // Adds up this rank's part.
  void sum(Lane& lane);
  void deliver(int64_t bucket);
  // Of what waits of this rank's part of a bucket, node by node.
  void append_waiting(std::vector<float*>& to, int64_t bucket, size_t nodes) const;
  // Of a bucket that is exchanged: all but `kept` is given back.
  void release_bucket(int64_t bucket, Slice kept);
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
  int64_t begin_;
  Tensor values_, gradients_;
  Tensor waiting_;                    // [nodes, elements]: sums of this rank's parts, between rounds
  std::vector<int64_t> parts_begin_;  // in a row of them, by bucket
  size_t round_ = 0;
  std::vector<int64_t> counts_;  // elements of each rank's slice
  std::array<Lane, kLanes> lanes_;
  bool completing_ = false;  // what backward reports is complete for the step
  int64_t started_ = 0, done_ = 0, sent_bytes_ = 0;
  std::vector<Incoming> incoming_;  // of the exchange that is about to start
  std::vector<Outgoing> outgoing_;
};

}  // namespace fern
