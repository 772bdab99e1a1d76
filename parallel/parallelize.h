// Applies a mesh of ranks to training from outside: builds the reducers that the framework's seams ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "framework/core/arena.h"
#include "framework/model/parameters.h"
#include "framework/train/reducers.h"
#include "parallel/communicator.h"

namespace fern {

// How many ranks share each kind of work. Only data may be more than 1 today.
struct Mesh {
  int64_t data = 1, tensor = 1, pipeline = 1, expert = 1, context = 1;
  int64_t zero = 0;  // 0: every rank keeps all optimizer state; 1: each keeps its slice
};

// Fills mesh.data = ranks when it is 0. Errors (kBadUsage): sizes that do not multiply to the ranks, shards
// not divisible by the data size, with the sizes that would do; axes and stages that are not built.
Mesh resolve(Mesh mesh, int ranks, int64_t reduction_shards);

// The most ranks, up to `limit`, for which resolve() gives a mesh. REQUIRES: limit >= 1. Errors (kBadUsage):
// mesh.data is given and above the limit.
int most_ranks(const Mesh& mesh, int limit, int64_t reduction_shards);

struct Reducers {
  std::unique_ptr<GradReducer> gradients;
  std::unique_ptr<ScalarReducer> scalars;
};
// Takes the reducers' buffers from `arena`. REQUIRES: parameters allocated; mesh resolved for this
// communicator; parameters, arena and communicator outlive the reducers. With one rank these are the
// framework's solo reducers.
Reducers parallelize(Parameters& parameters, const Mesh& mesh, int64_t reduction_shards,
                     Communicator& communicator, Arena& arena);

// The reducer of another flat buffer (f32, whole chunks), whose sum every rank keeps whole: what growing
// looks at. REQUIRES: as parallelize().
std::unique_ptr<GradReducer> parallelize_scores(const Tensor& scored, const Mesh& mesh,
                                                int64_t reduction_shards, Communicator& communicator,
                                                Arena& arena);
// The most that it takes from the arena on any rank.
size_t score_reducer_bytes(const Tensor& scored, const Mesh& mesh, int64_t reduction_shards);

// The most that parallelize() takes from the arena on any rank. `parameters` may be measuring; needs no
// other rank.
size_t reducer_bytes(const Parameters& parameters, const Mesh& mesh, int64_t reduction_shards);
// The most elements whose optimizer state one rank keeps.
int64_t optimizer_elements(const Parameters& parameters, const Mesh& mesh);

}  // namespace fern
