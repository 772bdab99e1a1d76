// Applies a mesh of ranks to training from outside: builds the reducers that the framework's seams ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "framework/core/arena.h"
#include "framework/model/parameters.h"
#include "framework/train/reducers.h"
#include "parallel/mesh.h"

namespace fern {

struct Reducers {
  std::unique_ptr<GradReducer> gradients;
  std::unique_ptr<ScalarReducer> scalars;
};
// Takes the reducers' buffers from `arena`. REQUIRES: parameters allocated; mesh resolved for this
// communicator; parameters, arena and communicator outlive the reducers. With one rank these are the
// framework's solo reducers.
Reducers parallelize(Parameters& parameters, const Mesh& mesh, int64_t reduction_shards,
                     Communicator& communicator, Arena& arena);
// The same on a mesh of several axes: gradients are summed over the ranks that hold the same parameters,
// those of experts that ranks share over the ranks that hold them, scalars over all ranks. Where ranks share
// sequences, each adds terms of its own to the sum: C S of them, S of the first rank's share, and so on.
Reducers parallelize(Parameters& parameters, MeshCommunicators& communicators, int64_t reduction_shards,
                     Arena& arena);

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
// What the one of the ranks that hold the same parameters, experts aside, whose number is `replica` sends the
// others in a step: gradients, and values under ZeRO.
int64_t data_sent_bytes(const Parameters& parameters, const Mesh& mesh, int64_t reduction_shards,
                        int replica);
// The most elements whose optimizer state one rank keeps.
int64_t optimizer_elements(const Parameters& parameters, const Mesh& mesh);

}  // namespace fern
