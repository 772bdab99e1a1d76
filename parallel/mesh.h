// How ranks share the work: the sizes of the mesh's axes, each rank's place in it, and the communicators of
// those who work together.
#pragma once

#include <cstdint>
#include <memory>

#include "parallel/communicator.h"

namespace fern {

// How many ranks share each kind of work. `expert` of the data ranks, which are neighbours, share the experts
// of a layer.
struct Mesh {
  int64_t data = 1, tensor = 1, pipeline = 1, expert = 1, context = 1;
  int64_t zero =
      0;  // what a data rank keeps its slice of alone. 1: optimizer state; 2: and gradients; 3: and values
  int64_t virtual_stages = 1;  // parts of the model that each stage of the pipeline holds

  int64_t ranks() const { return data * tensor * pipeline * context; }
  // Ranks that hold the same parameters, experts that ranks share aside, and sum their gradients; and those
  // that hold the same experts.
  int64_t replicas() const { return data * context; }
  int64_t expert_replicas() const { return replicas() / expert; }
  bool operator==(const Mesh&) const = default;
};

// Fills mesh.data with what the other axes leave of the ranks when it is 0. Errors (kBadUsage): sizes that do
// not multiply to the ranks, shards not divisible by the data size, nor that by the expert size, more parts
// of stages than layers, or several in one stage, with the sizes that would do; a ZeRO stage that there is
// not.
Mesh resolve(Mesh mesh, int ranks, int64_t reduction_shards, int64_t layers = 1);

// The most ranks, up to `limit`, for which resolve() gives a mesh. REQUIRES: limit >= 1. Errors (kBadUsage):
// the axes that are given need more than the limit.
int most_ranks(const Mesh& mesh, int limit, int64_t reduction_shards);

struct MeshPlace {
  int64_t stage = 0, data = 0, tensor = 0, context = 0;
};
// rank = ((stage * mesh.data + data) * mesh.context + context) * mesh.tensor + tensor: stages are farthest
// apart, and pieces of a matrix nearest to each other.
MeshPlace place_of(const Mesh& mesh, int rank);
int rank_at(const Mesh& mesh, const MeshPlace& place);

// A data rank's number among those that share experts.
inline int64_t expert_index(const Mesh& mesh, int64_t data) { return data % mesh.expert; }
// Its number among the replicas, whose shards of a step follow each other in this order: those of a share of
// sequences, of them those of a share of experts, and of them all in the order of data. So which shards ranks
// take together does not depend on how many replicas there are (reduction_plan.h).
int64_t replica_index(const Mesh& mesh, const MeshPlace& place);
// Its number among those that hold the same experts, in the same order.
int64_t expert_replica_index(const Mesh& mesh, const MeshPlace& place);
// The place of a replica, of the first stage and share of matrices.
MeshPlace place_of_replica(const Mesh& mesh, int64_t replica);

// The communicators of one rank. Where another axis than expert takes all ranks, the world is its group.
class MeshCommunicators {
 public:
  // All ranks call it, after Communicator::watch(). Borrows the world. REQUIRES: mesh resolved for it.
  MeshCommunicators(const Mesh& mesh, Communicator& world);
  const Mesh& mesh() const { return mesh_; }
  const MeshPlace& place() const { return place_; }
  Communicator& world() { return world_; }
  // The replicas, by replica_index().
  Communicator& data() { return data_ ? *data_ : world_; }
  Communicator& tensor() { return tensor_ ? *tensor_ : world_; }
  // Null: sequences are whole here.
  Communicator* context() { return context_.get(); }
  // Of the ranks that share experts, and of those that hold the same, by expert_replica_index(). Null: none
  // share.
  Communicator* experts() { return experts_.get(); }
  Communicator* expert_replicas() { return expert_replicas_.get(); }
  // Two ranks each, the earlier stage first: with the stage before and with the one after (null where there
  // is none), and of the first and the last stage with each other (null elsewhere, and with one stage).
  Communicator* before() { return place_.stage % 2 == 0 ? odd_link_.get() : even_link_.get(); }
  Communicator* after() { return place_.stage % 2 == 0 ? even_link_.get() : odd_link_.get(); }
  Communicator* wrap() { return wrap_link_.get(); }

 private:
  void join_experts();

  Mesh mesh_;
  MeshPlace place_;
  Communicator& world_;
  std::unique_ptr<Communicator> data_, tensor_, context_, even_link_, odd_link_, wrap_link_;
  std::unique_ptr<Communicator> experts_, expert_replicas_;
};

}  // namespace fern
