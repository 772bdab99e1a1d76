#include "parallel/mesh.h"

namespace fern {

MeshPlace place_of(const Mesh& mesh, int rank) {
  return {.stage = rank / (mesh.replicas() * mesh.tensor),
          .data = rank / (mesh.context * mesh.tensor) % mesh.data,
          .tensor = rank % mesh.tensor,
          .context = rank / mesh.tensor % mesh.context};
}

int rank_at(const Mesh& mesh, const MeshPlace& place) {
  const int64_t replica = (place.stage * mesh.data + place.data) * mesh.context + place.context;
  return static_cast<int>(replica * mesh.tensor + place.tensor);
}

int64_t replica_index(const Mesh& mesh, const MeshPlace& place) {
  return (place.context * mesh.expert + expert_index(mesh, place.data)) * (mesh.data / mesh.expert) +
         place.data / mesh.expert;
}

int64_t expert_replica_index(const Mesh& mesh, const MeshPlace& place) {
  return place.context * (mesh.data / mesh.expert) + place.data / mesh.expert;
}

MeshPlace place_of_replica(const Mesh& mesh, int64_t replica) {
  const int64_t groups = mesh.data / mesh.expert;
  return {.data = replica % groups * mesh.expert + replica / groups % mesh.expert,
          .context = replica / mesh.data};
}

MeshCommunicators::MeshCommunicators(const Mesh& mesh, Communicator& world)
    : mesh_(mesh), place_(place_of(mesh, world.rank())), world_(world) {
  if (mesh.expert > 1) join_experts();
  const bool in_order = mesh.expert == 1 || mesh.expert == mesh.data;
  if ((mesh.data == world.size() && in_order) || mesh.tensor == world.size()) return;
  const int64_t lanes = mesh.replicas() * mesh.tensor, lane = world.rank() % lanes;
  data_ = world.group(Axis::kData, static_cast<int>(place_.stage * mesh.tensor + place_.tensor),
                      static_cast<int>(replica_index(mesh, place_)));
  if (mesh.tensor > 1) tensor_ = world.group(Axis::kTensor, world.rank() / static_cast<int>(mesh.tensor));
  if (mesh.context > 1)
    context_ =
        world.group(Axis::kContext,
                    static_cast<int>((place_.stage * mesh.data + place_.data) * mesh.tensor + place_.tensor));
  if (mesh.pipeline == 1) return;
  // Of the pair that begins with stage `first`; none where that, or its end, is no stage.
  const auto link = [&](Axis axis, int64_t first) {
    const bool is_there = first >= 0 && first + 1 < mesh.pipeline;
    return world.group(axis, is_there ? static_cast<int>(first * lanes + lane) : -1);
  };
  const bool is_even = place_.stage % 2 == 0;
  even_link_ = link(Axis::kEvenLink, is_even ? place_.stage : place_.stage - 1);
  odd_link_ = link(Axis::kOddLink, is_even ? place_.stage - 1 : place_.stage);
  const bool is_end = place_.stage == 0 || place_.stage + 1 == mesh.pipeline;
  wrap_link_ = world.group(Axis::kWrapLink, is_end ? static_cast<int>(lane) : -1);
}

// Exchanges of experts go on while gradients are exchanged: never over the same communicator.
void MeshCommunicators::join_experts() {
  const int64_t lane = place_.stage * mesh_.tensor + place_.tensor, replicas = mesh_.expert_replicas(),
                replica = expert_replica_index(mesh_, place_);
  experts_ = world_.group(Axis::kExpert, static_cast<int>(lane * replicas + replica));
  expert_replicas_ =
      replicas == 1 ? make_solo_communicator()
                    : world_.group(Axis::kReplica,
                                   static_cast<int>(lane * mesh_.expert + expert_index(mesh_, place_.data)),
                                   static_cast<int>(replica));
}

}  // namespace fern
