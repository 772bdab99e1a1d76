#include "parallel/reduction_plan.h"

#include <algorithm>

namespace fern {

namespace {

// Parts begin on cache lines.
constexpr int64_t kPartUnit = 16;

int64_t whole_chunks(int64_t elements) {
  return std::max(elements / kParameterChunk, int64_t{1}) * kParameterChunk;
}

}  // namespace

Slice intersection(Slice a, Slice b) {
  const int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

Slice ReductionPlan::kept_by(int of_rank) const {
  return sliced ? slices[static_cast<size_t>(of_rank)] : Slice{0, slices.back().end};
}

Slice ReductionPlan::bucket_of(int64_t i) const {
  const int64_t end = slices.back().end - i * bucket;
  return {std::max(end - bucket, int64_t{0}), end};
}

Slice ReductionPlan::part_of(int of_rank, int64_t i) const {
  const Slice whole = bucket_of(i);
  if (sliced && ranks == 2) return intersection(whole, slices[static_cast<size_t>(of_rank)]);
  const int64_t units = whole.elements() / kPartUnit;
  return {whole.begin + units * of_rank / ranks * kPartUnit,
          whole.begin + units * (of_rank + 1) / ranks * kPartUnit};
}

int64_t ReductionPlan::longest_part() const {
  int64_t longest = 0;
  for (int64_t i = 0; i < buckets; ++i) longest = std::max(longest, part_of(rank, i).elements());
  return longest;
}

int64_t ReductionPlan::foreign_nodes() const {
  size_t count = 0;
  for (const auto& held : nodes) count += held.size();
  return static_cast<int64_t>(count - nodes[static_cast<size_t>(rank)].size());
}

ReductionPlan resized(const ReductionPlan& plan, int64_t elements) {
  ReductionPlan result = plan;
  const int64_t chunks = elements / kParameterChunk;
  result.slices.clear();
  for (int64_t r = 0; r < plan.ranks; ++r)
    result.slices.push_back(
        {chunks * r / plan.ranks * kParameterChunk, chunks * (r + 1) / plan.ranks * kParameterChunk});
  result.bucket = whole_chunks(std::min(plan.bucket, elements));
  result.buckets = (elements + result.bucket - 1) / result.bucket;
  return result;
}

int64_t sent_bytes_of_step(const ReductionPlan& plan) {
  const auto nodes = static_cast<int64_t>(plan.nodes[static_cast<size_t>(plan.rank)].size());
  int64_t elements = plan.sliced ? (plan.ranks - 1) * plan.slice().elements() : 0;
  for (int64_t bucket = 0; bucket < plan.buckets; ++bucket)
    for (int other = 0; other < plan.ranks; ++other) {
      if (other == plan.rank) continue;
      elements += nodes * plan.part_of(other, bucket).elements();
      elements += intersection(plan.part_of(plan.rank, bucket), plan.kept_by(other)).elements();
    }
  return elements * static_cast<int64_t>(sizeof(float));
}

ReductionPlan plan_reduction(int64_t elements, int64_t shards, int rank, int ranks, int64_t zero,
                             int64_t largest_bucket) {
  ReductionPlan plan;
  plan.rank = rank;
  plan.ranks = ranks;
  plan.shards = shards;
  plan.sliced = zero > 0 && elements / kParameterChunk >= ranks;
  plan.bucket = largest_bucket;
  std::vector<TreeNode> all;
  for (int64_t r = 0; r < ranks; ++r) {
    plan.nodes.push_back(cover(r * plan.share(), (r + 1) * plan.share(), shards));
    all.insert(all.end(), plan.nodes.back().begin(), plan.nodes.back().end());
  }
  plan.joins = joins_to_root(all, shards);
  return resized(plan, elements);
}

}  // namespace fern
