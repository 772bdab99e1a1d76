// Who sends whom which part of the gradient, and in which order the parts are added: a pure function of the
// layout, the same on every rank.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/model/parameters.h"
#include "framework/train/tree_sum.h"

namespace fern {

struct ReductionPlan {
  int rank = 0, ranks = 1;
  int64_t shards = 1;                        // S, of which each rank sums S / ranks, in rank order
  bool sliced = false;                       // ranks keep only their slice of the sum (ZeRO)
  std::vector<Slice> slices;                 // by rank: whole chunks, as even as they go
  std::vector<std::vector<TreeNode>> nodes;  // by rank: what it can sum alone
  std::vector<Join> joins;                   // all ranks' nodes, in order, to the root
  // Slices are exchanged in pieces of this many elements, whole chunks: small enough that the other ranks'
  // pieces need little room, and that adding one hides the sending of the next.
  int64_t piece = 0;
  int64_t pieces = 0;  // of the longest slice

  int64_t share() const { return shards / ranks; }
  const Slice& slice() const { return slices[static_cast<size_t>(rank)]; }
  // What this rank keeps of the summed gradient.
  Slice kept() const { return sliced ? slice() : Slice{0, slices.back().end}; }
  // Piece i of a rank's slice; empty past its end.
  Slice piece_of(int of_rank, int64_t i) const;
  // Nodes that come from other ranks.
  int64_t foreign_nodes() const;
};

// Under ZeRO (zero > 0) ranks keep slices, except where a slice would be empty: so small a model stays whole.
// REQUIRES: `elements` is whole chunks; ranks divides shards.
ReductionPlan plan_reduction(int64_t elements, int64_t shards, int rank, int ranks, int64_t zero);

}  // namespace fern
