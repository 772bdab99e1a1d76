#include <fmt/ranges.h>

#include "framework/core/divisors.h"
#include "framework/core/error.h"
#include "parallel/parallelize.h"

namespace fern {

namespace {

void refuse_unbuilt(const Mesh& mesh, int ranks) {
  const struct {
    const char* name;
    int64_t size;
  } axes[] = {{"tensor", mesh.tensor},
              {"pipeline", mesh.pipeline},
              {"expert", mesh.expert},
              {"context", mesh.context}};
  for (const auto& axis : axes)
    if (axis.size != 1)
      fail_usage(
          "parallel.{} = {}: {} parallel is not built yet; use parallel.data = {}, and parallel.{} = 1",
          axis.name, axis.size, axis.name, ranks, axis.name);
  if (mesh.zero != 0 && mesh.zero != 1)
    fail_usage(
        "parallel.zero = {}: expected 0 (every rank keeps all optimizer state) or 1 (each keeps its slice); "
        "further stages are not built yet",
        mesh.zero);
}

}  // namespace

Mesh resolve(Mesh mesh, int ranks, int64_t reduction_shards) {
  refuse_unbuilt(mesh, ranks);
  if (mesh.data == 0) mesh.data = ranks;
  if (mesh.data != ranks)
    fail_usage(
        "parallel.data = {}, but there are {} ranks; start as many (mpirun -n {}), or set parallel.data = {} "
        "or "
        "0 (as many as there are)",
        mesh.data, ranks, mesh.data, ranks);
  if (reduction_shards < 1) fail_usage("batch.reduction_shards = {}: expected at least 1", reduction_shards);
  if (reduction_shards % mesh.data != 0)
    fail_usage(
        "batch.reduction_shards = {} cannot be shared evenly by {} ranks; use one of {} ranks, or set "
        "reduction_shards to a multiple of {} (a different value is a different order of sums)",
        reduction_shards, mesh.data, fmt::join(divisors(reduction_shards), ", "), mesh.data);
  return mesh;
}

int most_ranks(const Mesh& mesh, int limit, int64_t reduction_shards) {
  if (mesh.data > limit)
    fail_usage("parallel.data = {}, but only {} ranks are left; set parallel.data = 0 (as many as there are)",
               mesh.data, limit);
  if (mesh.data > 0) return static_cast<int>(mesh.data);
  int ranks = limit;
  while (reduction_shards % ranks != 0) --ranks;
  return ranks;
}

}  // namespace fern
