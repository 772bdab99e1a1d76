#include "parallel/parallelize.h"

#include <algorithm>

#include "framework/train/solo_reducer.h"
#include "parallel/data_reducer.h"
#include "parallel/rank_scalars.h"

namespace fern {

namespace {

ReductionPlan plan_of(const Parameters& parameters, const Mesh& mesh, int64_t shards, int rank) {
  return plan_reduction(parameters.gradients().elements(), shards, rank, static_cast<int>(mesh.data),
                        mesh.zero);
}

}  // namespace

Reducers parallelize(Parameters& parameters, const Mesh& mesh, int64_t reduction_shards,
                     Communicator& communicator, Arena& arena) {
  if (mesh.data == 1)
    return {std::make_unique<SoloReducer>(parameters, reduction_shards, arena),
            std::make_unique<SoloScalars>()};
  return {
      std::make_unique<DataReducer>(
          parameters, plan_of(parameters, mesh, reduction_shards, communicator.rank()), communicator, arena),
      std::make_unique<RankScalars>(communicator)};
}

size_t reducer_bytes(const Parameters& parameters, const Mesh& mesh, int64_t reduction_shards) {
  size_t most = 0;
  const std::unique_ptr<Communicator> nobody = make_solo_communicator();
  for (int rank = 0; rank < mesh.data; ++rank) {
    Arena measure = Arena::measuring("reduction");
    if (mesh.data == 1)
      SoloReducer(parameters, reduction_shards, measure);
    else
      DataReducer(parameters, plan_of(parameters, mesh, reduction_shards, rank), *nobody, measure);
    most = std::max(most, measure.used_bytes());
  }
  return most;
}

int64_t optimizer_elements(const Parameters& parameters, const Mesh& mesh) {
  int64_t most = 0;
  for (int rank = 0; rank < mesh.data; ++rank)
    most = std::max(most, plan_of(parameters, mesh, mesh.data, rank).kept_by(rank).elements());
  return most;
}

}  // namespace fern
