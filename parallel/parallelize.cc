#include "parallel/parallelize.h"

#include <algorithm>

#include "framework/train/solo_reducer.h"
#include "parallel/data_reducer.h"
#include "parallel/expert_reducer.h"
#include "parallel/rank_scalars.h"
#include "parallel/rank_values.h"

namespace fern {

namespace {

ReductionPlan plan_of(const Parameters& parameters, const Mesh& mesh, int64_t shards, int rank) {
  return plan_reduction(parameters.padded_elements(), shards * mesh.context, rank,
                        static_cast<int>(mesh.replicas()), mesh.zero);
}

ReductionPlan plan_of_scores(const Tensor& scored, const Mesh& mesh, int64_t shards, int rank) {
  ReductionPlan plan = plan_reduction(scored.elements(), shards * mesh.context, rank,
                                      static_cast<int>(mesh.replicas()), mesh.zero);
  plan.sliced = false;
  return plan;
}

bool has_own_experts(const Parameters& parameters) {
  return parameters.own_experts() < parameters.list().size();
}

// The longest group of parameters that one process may hold without the others, from `first` on.
int64_t longest_group(const std::vector<Parameter>& list, size_t first) {
  int64_t longest = 0, begin = 0;
  for (size_t i = first; i < list.size(); ++i) {
    if (i == first || list[i].begins_group) begin = list[i].offset;
    longest = std::max(longest, list[i].offset + list[i].elements() - begin);
  }
  return longest;
}

// The most that `take(rank, arena)` takes on any rank.
template <typename Take>
size_t most_bytes(const Mesh& mesh, const Take& take) {
  size_t most = 0;
  for (int rank = 0; rank < mesh.replicas(); ++rank) {
    Arena measure = Arena::measuring("reduction");
    take(rank, measure);
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
  const ReductionPlan plan = plan_of(parameters, mesh, reduction_shards, communicator.rank());
  auto gradients = std::make_unique<DataReducer>(parameters, plan, communicator, arena);
  auto values = plan.fetches ? std::make_unique<RankValues>(parameters, *gradients, communicator) : nullptr;
  return {std::move(gradients), std::make_unique<RankScalars>(communicator), std::move(values)};
}

Reducers parallelize(Parameters& parameters, MeshCommunicators& communicators, int64_t reduction_shards,
                     Arena& arena) {
  const Mesh& mesh = communicators.mesh();
  Reducers reducers;
  if (has_own_experts(parameters))
    reducers.gradients =
        std::make_unique<ExpertReducer>(parameters, mesh, communicators.place().data, reduction_shards,
                                        communicators.data(), communicators.expert_replicas(), arena);
  else
    reducers = parallelize(parameters, mesh, reduction_shards, communicators.data(), arena);
  if (communicators.world().size() > 1)
    reducers.scalars = std::make_unique<RankScalars>(communicators.world());
  return reducers;
}

std::unique_ptr<GradReducer> parallelize_scores(const Tensor& scored, const Mesh& mesh,
                                                int64_t reduction_shards, Communicator& communicator,
                                                Arena& arena) {
  if (mesh.replicas() == 1) return std::make_unique<SoloReducer>(scored, reduction_shards, arena);
  return std::make_unique<DataReducer>(
      scored, plan_of_scores(scored, mesh, reduction_shards, communicator.rank()), communicator, arena);
}

size_t score_reducer_bytes(const Tensor& scored, const Mesh& mesh, int64_t reduction_shards) {
  const std::unique_ptr<Communicator> nobody = make_solo_communicator();
  return most_bytes(mesh, [&](int rank, Arena& arena) {
    if (mesh.replicas() == 1)
      SoloReducer(scored, reduction_shards, arena);
    else
      DataReducer(scored, plan_of_scores(scored, mesh, reduction_shards, rank), *nobody, arena);
  });
}

size_t reducer_bytes(const Parameters& parameters, const Mesh& mesh, int64_t reduction_shards) {
  const std::unique_ptr<Communicator> nobody = make_solo_communicator();
  return most_bytes(mesh, [&](int rank, Arena& arena) {
    if (has_own_experts(parameters))
      ExpertReducer(parameters, mesh, rank, reduction_shards, *nobody,
                    mesh.expert_replicas() > 1 ? nobody.get() : nullptr, arena);
    else if (mesh.replicas() == 1)
      SoloReducer(parameters, reduction_shards, arena);
    else
      DataReducer(parameters, plan_of(parameters, mesh, reduction_shards, rank), *nobody, arena);
  });
}

int64_t data_sent_bytes(const Parameters& parameters, const Mesh& mesh, int64_t reduction_shards,
                        int replica) {
  if (mesh.replicas() == 1) return 0;
  if (has_own_experts(parameters))
    return expert_reducer_sent_bytes(parameters, mesh, reduction_shards, replica);
  return sent_bytes_of_step(plan_reduction(parameters.padded_elements(), reduction_shards * mesh.context,
                                           replica, static_cast<int>(mesh.replicas()), mesh.zero));
}

int64_t optimizer_elements(const Parameters& parameters, const Mesh& mesh) {
  int64_t most = 0;
  for (int rank = 0; rank < mesh.replicas(); ++rank)
    most = std::max(most, plan_of(parameters, mesh, mesh.data, rank).kept_by(rank).elements());
  return most;
}

std::optional<Slice> kept_values(const Parameters& parameters, const Mesh& mesh, int data_index) {
  const ReductionPlan plan = plan_of(parameters, mesh, mesh.data, data_index);
  return plan.fetches ? std::optional(plan.slice()) : std::nullopt;
}

size_t value_bytes(const Parameters& parameters, const Mesh& mesh) {
  const int64_t all = parameters.values().elements();
  int64_t live = all;
  // The longest group begins with a chunk, and fills its last one.
  if (kept_values(parameters, mesh, 0))
    live = optimizer_elements(parameters, mesh) + longest_group(parameters.list(), 0) + kParameterChunk;
  return static_cast<size_t>(std::min(all, live)) * size_of(parameters.values().dtype());
}

int64_t fetched_bytes(const Parameters& parameters, const std::vector<ParameterRun>& fetched,
                      const Mesh& mesh, int data_index) {
  const ReductionPlan plan = plan_of(parameters, mesh, mesh.data, data_index);
  int64_t bytes = 0;
  for (const ParameterRun run : fetched)
    if (plan.fetches) bytes += fetch_bytes(plan, fetched_elements(parameters, run));
  return bytes;
}

bool releases_gradients(const Mesh& mesh) { return mesh.zero > 1 && mesh.data > 1; }

size_t gradient_bytes(const Parameters& parameters, const Mesh& mesh, int64_t micro_batches_a_shard,
                      bool tied) {
  const int64_t all = parameters.gradients().elements();
  int64_t live = all;
  if (releases_gradients(mesh) && micro_batches_a_shard == 1) {
    const std::vector<Parameter>& list = parameters.list();
    const bool stays = tied && list.front().kind == ParameterKind::kEmbedding;
    live = optimizer_elements(parameters, mesh) + longest_group(list, stays ? 1 : 0) +
           (stays ? list.front().elements() : 0) +
           (DataReducer::kLanes + 1) * plan_of(parameters, mesh, mesh.data, 0).bucket;
  }
  return static_cast<size_t>(std::min(all, live)) * size_of(parameters.gradients().dtype());
}

}  // namespace fern
