// Who sends whom which part of the gradient, and in which order the parts are added: a pure function of the
// layout, the same on every rank.
//
// The flat buffer is cut from its end into buckets, in the order in which backward completes them. Each
// bucket is exchanged by itself, in two phases: every rank gets the others' sums of its part of the bucket
// and adds them up; then it sends the total to the ranks that keep it.
//
// From ZeRO 2 on no rank can sum shards by itself, since that takes all gradients. So shards are dealt in
// rounds, one to each rank, which makes the shards of a round neighbours in the tree: a round exchanges
// every bucket, and what is left of the sums of a part waits on its rank for the next round. The second phase
// is then the last round's. (Rajbhandari et al. 2020, arXiv:1910.02054, section 5.2, with the tree's order.)
//
// Where ranks take shards of the step together, one each (those of a sequence, or of the experts of a layer),
// each of them has a run of the shards of its own, and so have its replicas with it: rounds deal the shards
// of every run to its ranks, and which shards are taken together does not depend on how many ranks there are.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/model/parameters.h"
#include "framework/model/slices.h"
#include "framework/train/tree_sum.h"

namespace fern {

struct ReductionPlan {
  int rank = 0, ranks = 1;
  int64_t shards = 1;                        // S, of which each rank sums S / ranks
  int64_t runs = 1;                          // of shards, and of ranks: each as long, one after the other
  bool sliced = false;                       // ranks keep only their slice of the total (ZeRO)
  bool deals = false;                        // shards of a run are dealt to its ranks in turn; else in order
  bool fetches = false;                      // values are kept in slices alone, and fetched to be used
  std::vector<Slice> slices;                 // by rank: whole chunks, as even as they go
  std::vector<std::vector<TreeNode>> nodes;  // by rank: what it can sum alone; of the first round
  std::vector<JoinedNodes> rounds;           // of what waits and all ranks' nodes, in order
  int64_t largest_bucket = 0;                // elements
  int64_t bucket = 0;                        // of each, whole chunks; the last one may be shorter
  int64_t buckets = 0;

  int64_t share() const { return shards / ranks; }
  // The i-th shard of this rank.
  int64_t shard(int64_t i) const { return shard_of(rank, i); }
  int64_t shard_of(int of_rank, int64_t i) const;
  const Slice& slice() const { return slices[static_cast<size_t>(rank)]; }
  // What a rank keeps of the total.
  Slice kept_by(int of_rank) const;
  Slice bucket_of(int64_t i) const;
  // What a rank adds up of bucket i; may be empty. The parts are even, so that work and traffic are; only of
  // two ranks that keep slices each adds up its own, which spares the second phase at the same time on the
  // wire.
  Slice part_of(int of_rank, int64_t i) const;
  // A length that no part of this rank passes, nor of the same plan resized() to fewer elements; and that of
  // all its parts.
  int64_t longest_part() const;
  int64_t all_parts() const;
  // Nodes that come from other ranks, in a round.
  int64_t foreign_nodes() const;
  // The most that wait between rounds.
  int64_t most_waiting() const;
};

// Elements of a bucket: short enough that exchanges start early, long enough that few are needed.
inline constexpr int64_t kLargestBucket = int64_t{1} << 19;  // 2 MiB

// Under ZeRO (zero > 0) ranks keep slices, except where a slice would be empty: so small a model stays whole.
// With zero > 1 shards are dealt in rounds, whether ranks keep slices or not. Buckets are of at most
// `largest_bucket` elements, and at least one chunk. REQUIRES: `elements` is whole chunks; ranks divides
// shards, and runs divides ranks.
ReductionPlan plan_reduction(int64_t elements, int64_t shards, int rank, int ranks, int64_t zero,
                             int64_t largest_bucket = kLargestBucket, int64_t runs = 1);
// What the rank sends to others in a step: its sums of their parts, the total of its own part to those that
// keep it, and the values of its slice where ranks keep slices and all values.
int64_t sent_bytes_of_step(const ReductionPlan& plan);
// The same of so many elements; slices stay slices, though some may now be empty.
ReductionPlan resized(const ReductionPlan& plan, int64_t elements);

}  // namespace fern
