#include "parallel/reduction_plan.h"

#include <algorithm>

namespace fern {

namespace {

// Parts begin on cache lines.
constexpr int64_t kPartUnit = 16;

int64_t whole_chunks(int64_t elements) {
  return std::max(elements / kParameterChunk, int64_t{1}) * kParameterChunk;
}

// The part of one of `ranks` of so many units, as even as they go: no longer for fewer units.
Slice even_part(int64_t units, int64_t rank, int64_t ranks) {
  const int64_t each = units / ranks, longer = units % ranks;
  const auto begin = [&](int64_t r) { return r * each + std::min(r, longer); };
  return {begin(rank), begin(rank + 1)};
}

}  // namespace

int64_t ReductionPlan::shard_of(int of_rank, int64_t i) const {
  if (!deals) return of_rank * share() + i;
  const int64_t ranks_of_run = ranks / runs;
  return of_rank / ranks_of_run * (shards / runs) + i * ranks_of_run + of_rank % ranks_of_run;
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
  const Slice units = even_part(whole.elements() / kPartUnit, of_rank, ranks);
  return {whole.begin + units.begin * kPartUnit, whole.begin + units.end * kPartUnit};
}

int64_t ReductionPlan::longest_part() const {
  if (sliced && ranks == 2) return std::min(bucket, slice().elements());
  int64_t longest = 0;
  for (int64_t i = 0; i < buckets; ++i) longest = std::max(longest, part_of(rank, i).elements());
  return longest;
}

int64_t ReductionPlan::all_parts() const {
  int64_t all = 0;
  for (int64_t i = 0; i < buckets; ++i) all += part_of(rank, i).elements();
  return all;
}

int64_t ReductionPlan::most_waiting() const {
  size_t most = 0;
  for (size_t round = 0; round + 1 < rounds.size(); ++round)
    most = std::max(most, rounds[round].nodes.size());
  return static_cast<int64_t>(most);
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
  for (int64_t r = 0; r < plan.ranks; ++r) {
    const Slice part = even_part(chunks, r, plan.ranks);
    result.slices.push_back({part.begin * kParameterChunk, part.end * kParameterChunk});
  }
  result.bucket = whole_chunks(std::min(plan.largest_bucket, elements));
  result.buckets = (elements + result.bucket - 1) / result.bucket;
  return result;
}

int64_t sent_bytes_of_step(const ReductionPlan& plan) {
  const auto nodes = static_cast<int64_t>(plan.nodes[static_cast<size_t>(plan.rank)].size());
  int64_t elements = plan.sliced && !plan.fetches ? (plan.ranks - 1) * plan.slice().elements() : 0;
  for (int64_t bucket = 0; bucket < plan.buckets; ++bucket)
    for (int other = 0; other < plan.ranks; ++other) {
      if (other == plan.rank) continue;
      elements += std::ssize(plan.rounds) * nodes * plan.part_of(other, bucket).elements();
      elements += intersection(plan.part_of(plan.rank, bucket), plan.kept_by(other)).elements();
    }
  return elements * static_cast<int64_t>(sizeof(float));
}

ReductionPlan plan_reduction(int64_t elements, int64_t shards, int rank, int ranks, int64_t zero,
                             int64_t largest_bucket, int64_t runs) {
  ReductionPlan plan;
  plan.rank = rank;
  plan.ranks = ranks;
  plan.shards = shards;
  plan.runs = runs;
  plan.sliced = zero > 0 && elements / kParameterChunk >= ranks;
  plan.deals = zero > 1;
  plan.fetches = plan.sliced && zero > 2 && ranks > 1;
  plan.largest_bucket = largest_bucket;
  const int64_t a_round = plan.deals ? 1 : plan.share();  // shards of a rank
  for (int64_t i = 0; i < plan.share(); i += a_round) {
    std::vector<TreeNode> all;
    if (!plan.rounds.empty()) all = plan.rounds.back().nodes;
    for (int r = 0; r < ranks; ++r) {
      const int64_t first = plan.shard_of(r, i);
      const std::vector<TreeNode> own = cover(first, first + a_round, shards);
      all.insert(all.end(), own.begin(), own.end());
      if (i == 0) plan.nodes.push_back(own);
    }
    plan.rounds.push_back(join(all, shards));
  }
  return resized(plan, elements);
}

}  // namespace fern
