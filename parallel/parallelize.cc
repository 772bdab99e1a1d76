#include "parallel/parallelize.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "framework/train/solo_reducer.h"
#include "parallel/rank_scalars.h"
#include "parallel/rank_values.h"
#include "parallel/region_reducer.h"

namespace fern {

namespace {

// What scores are summed to every rank keeps whole.
ReductionPlan plan_of_scores(const Region& region, const Mesh& mesh, int64_t shards, int64_t replica) {
  ReductionPlan plan = plan_of(region, mesh, shards, replica);
  plan.sliced = false;
  return plan;
}

// Which slices ranks keep does not depend on the number of shards.
ReductionPlan plan_of_slices(const Region& region, const Mesh& mesh, int64_t replica) {
  return plan_of(region, mesh, mesh.data, replica);
}

Slices kept_slices(const Parameters& parameters, const Mesh& mesh, int64_t replica) {
  Slices slices;
  for (const Region& region : regions_of(parameters)) {
    const ReductionPlan plan = plan_of_slices(region, mesh, replica);
    slices.add(plan.kept_by(plan.rank), region.begin);
  }
  return slices;
}

int64_t longest_kept(const ReductionPlan& plan) {
  int64_t longest = 0;
  for (int rank = 0; rank < plan.ranks; ++rank) longest = std::max(longest, plan.kept_by(rank).elements());
  return longest;
}

// The longest group of parameters that one process may hold without the others, from `first` on.
int64_t longest_group(std::span<const Parameter> list, size_t first) {
  int64_t longest = 0, begin = 0;
  for (size_t i = first; i < list.size(); ++i) {
    if (i == first || list[i].begins_group) begin = list[i].offset;
    longest = std::max(longest, list[i].offset + list[i].elements() - begin);
  }
  return longest;
}

// The communicator of the ranks that hold a region.
using Holders = std::function<Communicator&(const Region&)>;

Holders holders_in(MeshCommunicators& communicators) {
  return [&communicators](const Region& region) -> Communicator& {
    return region.own_experts ? *communicators.expert_replicas() : communicators.data();
  };
}

std::unique_ptr<GradReducer> one_of(std::vector<std::unique_ptr<DataReducer>> reducers) {
  if (reducers.size() == 1) return std::move(reducers.front());
  return std::make_unique<RegionReducer>(std::move(reducers));
}

Reducers reducers_for(const Parameters& parameters, const Mesh& mesh, int64_t shards, int64_t replica,
                      const Holders& holders, Arena& arena) {
  std::vector<std::unique_ptr<DataReducer>> reducers;
  std::vector<DataReducer*> borrowed;
  bool fetches = false;
  for (const Region& region : regions_of(parameters)) {
    const ReductionPlan plan = plan_of(region, mesh, shards, replica);
    fetches = fetches || plan.fetches;
    reducers.push_back(std::make_unique<DataReducer>(region, plan, holders(region), arena));
    borrowed.push_back(reducers.back().get());
  }
  return {one_of(std::move(reducers)), nullptr,
          fetches ? std::make_unique<RankValues>(parameters, std::move(borrowed)) : nullptr};
}

// The most that reducers of these regions take from an arena, on any rank.
template <typename PlanOf>
size_t most_bytes(const std::vector<Region>& regions, const Mesh& mesh, int64_t shards,
                  const PlanOf& plan_of_region) {
  const std::unique_ptr<Communicator> nobody = make_solo_communicator();
  size_t most = 0;
  for (int64_t replica = 0; replica < mesh.replicas(); ++replica) {
    Arena measure = Arena::measuring("reduction");
    for (const Region& region : regions) {
      if (mesh.replicas() == 1)
        SoloReducer(region.gradients, shards, measure);
      else
        DataReducer(region, plan_of_region(region, mesh, shards, replica), *nobody, measure);
    }
    most = std::max(most, measure.used_bytes());
  }
  return most;
}

}  // namespace

Reducers parallelize(Parameters& parameters, const Mesh& mesh, int64_t reduction_shards,
                     Communicator& communicator, Arena& arena) {
  if (mesh.replicas() == 1)
    return {std::make_unique<SoloReducer>(parameters, reduction_shards, arena),
            std::make_unique<SoloScalars>(), nullptr};
  Reducers reducers = reducers_for(
      parameters, mesh, reduction_shards, communicator.rank(),
      [&](const Region&) -> Communicator& { return communicator; }, arena);
  reducers.scalars = std::make_unique<RankScalars>(communicator);
  return reducers;
}

Reducers parallelize(Parameters& parameters, MeshCommunicators& communicators, int64_t reduction_shards,
                     Arena& arena) {
  const Mesh& mesh = communicators.mesh();
  Reducers reducers = mesh.replicas() == 1
                          ? parallelize(parameters, mesh, reduction_shards, communicators.data(), arena)
                          : reducers_for(parameters, mesh, reduction_shards, communicators.data().rank(),
                                         holders_in(communicators), arena);
  if (communicators.world().size() > 1)
    reducers.scalars = std::make_unique<RankScalars>(communicators.world());
  return reducers;
}

std::unique_ptr<GradReducer> parallelize_scores(const Tensor& scored, int64_t experts_begin,
                                                MeshCommunicators& communicators, int64_t reduction_shards,
                                                Arena& arena) {
  const Mesh& mesh = communicators.mesh();
  if (mesh.replicas() == 1) return std::make_unique<SoloReducer>(scored, reduction_shards, arena);
  const Holders holders = holders_in(communicators);
  const int64_t replica = communicators.data().rank();
  std::vector<std::unique_ptr<DataReducer>> reducers;
  for (const Region& region : regions_of(scored, experts_begin))
    reducers.push_back(std::make_unique<DataReducer>(
        region, plan_of_scores(region, mesh, reduction_shards, replica), holders(region), arena));
  return one_of(std::move(reducers));
}

size_t score_reducer_bytes(const Tensor& scored, int64_t experts_begin, const Mesh& mesh,
                           int64_t reduction_shards) {
  return most_bytes(regions_of(scored, experts_begin), mesh, reduction_shards, plan_of_scores);
}

size_t reducer_bytes(const Parameters& parameters, const Mesh& mesh, int64_t reduction_shards) {
  return most_bytes(regions_of(parameters), mesh, reduction_shards,
                    [](const Region& region, const Mesh& of, int64_t shards, int64_t replica) {
                      return plan_of(region, of, shards, replica);
                    });
}

int64_t data_sent_bytes(const Parameters& parameters, const Mesh& mesh, int64_t reduction_shards,
                        int64_t replica) {
  int64_t bytes = 0;
  for (const Region& region : regions_of(parameters))
    bytes += sent_bytes_of_step(plan_of(region, mesh, reduction_shards, replica));
  return bytes;
}

int64_t optimizer_elements(const Parameters& parameters, const Mesh& mesh) {
  int64_t most = 0;
  for (int64_t replica = 0; replica < mesh.replicas(); ++replica)
    most = std::max(most, kept_slices(parameters, mesh, replica).elements());
  return most;
}

bool fetches_values(const Parameters& parameters, const Mesh& mesh) {
  return std::ranges::any_of(regions_of(parameters),
                             [&](const Region& region) { return plan_of_slices(region, mesh, 0).fetches; });
}

// A region that is not fetched every rank keeps whole.
Slices kept_values(const Parameters& parameters, const Mesh& mesh, int64_t replica) {
  Slices slices;
  for (const Region& region : regions_of(parameters)) {
    const ReductionPlan plan = plan_of_slices(region, mesh, replica);
    slices.add(plan.fetches ? plan.slice() : Slice{0, region.elements()}, region.begin);
  }
  return slices;
}

size_t value_bytes(const Parameters& parameters, const Mesh& mesh) {
  int64_t elements = 0;
  for (const Region& region : regions_of(parameters)) {
    const ReductionPlan plan = plan_of_slices(region, mesh, 0);
    int64_t live = region.elements();
    // The longest group begins with a chunk, and fills its last one.
    if (plan.fetches)
      live = std::min(live, longest_kept(plan) + longest_group(region.list, 0) + kParameterChunk);
    elements += live;
  }
  return static_cast<size_t>(elements) * size_of(parameters.values().dtype());
}

int64_t fetched_bytes(const Parameters& parameters, const std::vector<ParameterRun>& fetched,
                      const Mesh& mesh, int64_t replica) {
  int64_t bytes = 0;
  for (const Region& region : regions_of(parameters)) {
    const ReductionPlan plan = plan_of_slices(region, mesh, replica);
    for (const ParameterRun run : fetched) {
      if (run.count == 0) continue;
      const Slice all = fetched_elements(parameters, run);
      if (region.begin <= all.begin && all.begin < region.end)
        bytes += fetch_bytes(plan, {all.begin - region.begin, all.end - region.begin});
    }
  }
  return bytes;
}

bool releases_gradients(const Mesh& mesh) { return mesh.zero > 1 && mesh.replicas() > 1; }

size_t gradient_bytes(const Parameters& parameters, const Mesh& mesh, int64_t micro_batches_a_shard,
                      bool tied) {
  int64_t elements = 0;
  for (const Region& region : regions_of(parameters)) {
    int64_t live = region.elements();
    if (releases_gradients(mesh) && micro_batches_a_shard == 1) {
      const ReductionPlan plan = plan_of_slices(region, mesh, 0);
      const bool stays = tied && region.list.front().kind == ParameterKind::kEmbedding;
      live = std::min(live, longest_kept(plan) + longest_group(region.list, stays ? 1 : 0) +
                                (stays ? region.list.front().elements() : 0) +
                                (DataReducer::kLanes + 1) * plan.bucket);
    }
    elements += live;
  }
  return static_cast<size_t>(elements) * size_of(parameters.gradients().dtype());
}

}  // namespace fern
