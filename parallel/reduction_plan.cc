#include "parallel/reduction_plan.h"

#include <algorithm>

namespace fern {

namespace {

constexpr int64_t kLargestPiece = int64_t{1} << 18;  // 1 MiB
constexpr int64_t kMostStaging = int64_t{1} << 23;   // elements: 32 MiB for all pieces in flight

int64_t piece_elements(int64_t foreign_nodes) {
  const int64_t room = kMostStaging / std::max<int64_t>(2 * foreign_nodes, 1);
  return std::max(std::min(kLargestPiece, room) / kParameterChunk, int64_t{1}) * kParameterChunk;
}

}  // namespace

Slice ReductionPlan::piece_of(int of_rank, int64_t i) const {
  const Slice& whole = slices[static_cast<size_t>(of_rank)];
  const int64_t begin = std::min(whole.begin + i * piece, whole.end);
  return {begin, std::min(begin + piece, whole.end)};
}

int64_t ReductionPlan::foreign_nodes() const {
  size_t count = 0;
  for (const auto& held : nodes) count += held.size();
  return static_cast<int64_t>(count - nodes[static_cast<size_t>(rank)].size());
}

ReductionPlan plan_reduction(int64_t elements, int64_t shards, int rank, int ranks, int64_t zero) {
  ReductionPlan plan;
  plan.rank = rank;
  plan.ranks = ranks;
  plan.shards = shards;
  const int64_t chunks = elements / kParameterChunk;
  plan.sliced = zero > 0 && chunks >= ranks;
  std::vector<TreeNode> all;
  for (int64_t r = 0; r < ranks; ++r) {
    plan.slices.push_back({chunks * r / ranks * kParameterChunk, chunks * (r + 1) / ranks * kParameterChunk});
    plan.nodes.push_back(cover(r * plan.share(), (r + 1) * plan.share(), shards));
    all.insert(all.end(), plan.nodes.back().begin(), plan.nodes.back().end());
  }
  plan.joins = joins_to_root(all, shards);
  int64_t longest = 0;
  for (const Slice& slice : plan.slices) longest = std::max(longest, slice.elements());
  if (longest == 0) return plan;
  plan.piece = std::min(piece_elements(plan.foreign_nodes()), longest);
  plan.pieces = (longest + plan.piece - 1) / plan.piece;
  return plan;
}

}  // namespace fern
