// Applies a mesh of ranks to training from outside: builds the reducers that the framework's seams ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "framework/core/arena.h"
#include "framework/model/parameters.h"
#include "framework/model/value_source.h"
#include "framework/train/reducers.h"
#include "parallel/mesh.h"

namespace fern {

struct Reducers {
  std::unique_ptr<GradReducer> gradients;
  std::unique_ptr<ScalarReducer> scalars;
  std::unique_ptr<ValueSource> values;  // null: all are here
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

// The reducer of another flat buffer (f32, whole chunks; of own experts from `experts_begin` on, a chunk),
// whose sum every rank keeps whole: what growing looks at. REQUIRES: as parallelize().
std::unique_ptr<GradReducer> parallelize_scores(const Tensor& scored, int64_t experts_begin,
                                                MeshCommunicators& communicators, int64_t reduction_shards,
                                                Arena& arena);
// The most that it takes from the arena on any rank.
size_t score_reducer_bytes(const Tensor& scored, int64_t experts_begin, const Mesh& mesh,
                           int64_t reduction_shards);

// The most that parallelize() takes from the arena on any rank. `parameters` may be measuring; needs no
// other rank.
size_t reducer_bytes(const Parameters& parameters, const Mesh& mesh, int64_t reduction_shards);
// What replica `replica` (replica_index(), mesh.h) sends the others in a step: gradients, and values under
// ZeRO. Here and below, the parameters are those that it has.
int64_t data_sent_bytes(const Parameters& parameters, const Mesh& mesh, int64_t reduction_shards,
                        int64_t replica);
// The most elements whose optimizer state one rank keeps.
int64_t optimizer_elements(const Parameters& parameters, const Mesh& mesh);
// Whether ranks keep slices of values alone, and fetch others to use them (ZeRO 3): these are then to be in
// an Arena::reserving(), like gradients.
bool fetches_values(const Parameters& parameters, const Mesh& mesh);
// The values that a replica keeps between uses.
Slices kept_values(const Parameters& parameters, const Mesh& mesh, int64_t replica);
// The most of the flat value buffer that is memory at a time, on any rank, in bytes.
size_t value_bytes(const Parameters& parameters, const Mesh& mesh);
// What a rank sends when these values are fetched, those of a micro-batch's passes or others; 0 where each
// keeps all, and of empty runs.
int64_t fetched_bytes(const Parameters& parameters, const std::vector<ParameterRun>& fetched,
                      const Mesh& mesh, int64_t replica);
// Whether ranks give gradients back as they are exchanged (ZeRO 2 and 3): their memory is then to be of an
// Arena::reserving().
bool releases_gradients(const Mesh& mesh);
// The most of the flat gradient buffer that is memory at a time, on any rank, in bytes. Where gradients are
// given back and a shard is one micro-batch: a slice, and what backward and the exchange are at, at most.
// `tied`: the head's gradient, which comes first, is the embedding's, which is complete last.
size_t gradient_bytes(const Parameters& parameters, const Mesh& mesh, int64_t micro_batches_a_shard,
                      bool tied);

}  // namespace fern
