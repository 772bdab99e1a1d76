// Who sends whom which part of the gradient, and in which order the parts are added: a pure function of the
// layout, the same on every rank.
//
// The flat buffer is cut from its end into buckets, in the order in which backward completes them. Each
// bucket is exchanged by itself, in two phases: every rank gets the others' sums of its part of the bucket
// and adds them up; then it sends the total to the ranks that keep it.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/model/parameters.h"
#include "framework/train/tree_sum.h"

namespace fern {

struct ReductionPlan {
  int rank = 0, ranks = 1;
  int64_t shards = 1;                        // S, of which each rank sums S / ranks, in rank order
  bool sliced = false;                       // ranks keep only their slice of the total (ZeRO)
  std::vector<Slice> slices;                 // by rank: whole chunks, as even as they go
  std::vector<std::vector<TreeNode>> nodes;  // by rank: what it can sum alone
  std::vector<Join> joins;                   // all ranks' nodes, in order, to the root
  int64_t bucket = 0;                        // elements, whole chunks; the last bucket may be shorter
  int64_t buckets = 0;

  int64_t share() const { return shards / ranks; }
  const Slice& slice() const { return slices[static_cast<size_t>(rank)]; }
  // What a rank keeps of the total.
  Slice kept_by(int of_rank) const;
  Slice bucket_of(int64_t i) const;
  // What a rank adds up of bucket i; may be empty. The parts are even, so that work and traffic are; only of
  // two ranks that keep slices each adds up its own, which spares the second phase at the same time on the
  // wire.
  Slice part_of(int of_rank, int64_t i) const;
  // Longest part of this rank.
  int64_t longest_part() const;
  // Nodes that come from other ranks.
  int64_t foreign_nodes() const;
};

// Elements of a bucket: short enough that exchanges start early, long enough that few are needed.
inline constexpr int64_t kLargestBucket = int64_t{1} << 19;  // 2 MiB

Slice intersection(Slice a, Slice b);

// Under ZeRO (zero > 0) ranks keep slices, except where a slice would be empty: so small a model stays whole.
// Buckets are of at most `largest_bucket` elements, and at least one chunk. REQUIRES: `elements` is whole
// chunks; ranks divides shards.
ReductionPlan plan_reduction(int64_t elements, int64_t shards, int rank, int ranks, int64_t zero,
                             int64_t largest_bucket = kLargestBucket);
// What the rank sends to others in a step: its sums of their parts, the total of its own part to those that
// keep it, and the values of its slice where ranks keep slices.
int64_t sent_bytes_of_step(const ReductionPlan& plan);
// The same of fewer elements; slices stay slices, though some may now be empty.
ReductionPlan resized(const ReductionPlan& plan, int64_t elements);

}  // namespace fern
