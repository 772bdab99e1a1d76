#include "parallel/mesh.h"

#include <gtest/gtest.h>

namespace fern {
namespace {

TEST(Mesh, RanksAndPlacesAreOneToOne) {
  const Mesh mesh{.data = 3, .tensor = 2, .pipeline = 4};
  for (int rank = 0; rank < 24; ++rank) EXPECT_EQ(rank_at(mesh, place_of(mesh, rank)), rank);
  const MeshPlace place = place_of(mesh, 2 * 6 + 1 * 2 + 1);
  EXPECT_EQ(place.stage, 2);
  EXPECT_EQ(place.data, 1);
  EXPECT_EQ(place.tensor, 1);
}

TEST(Mesh, SharesOfSequencesAreBetweenDataAndTensor) {
  const Mesh mesh{.data = 3, .tensor = 2, .pipeline = 2, .context = 4};
  EXPECT_EQ(mesh.ranks(), 48);
  EXPECT_EQ(mesh.replicas(), 12);
  for (int rank = 0; rank < 48; ++rank) EXPECT_EQ(rank_at(mesh, place_of(mesh, rank)), rank);
  const MeshPlace place = place_of(mesh, ((1 * 3 + 2) * 4 + 3) * 2 + 1);
  EXPECT_EQ(place.stage, 1);
  EXPECT_EQ(place.data, 2);
  EXPECT_EQ(place.context, 3);
  EXPECT_EQ(place.tensor, 1);
}

TEST(Mesh, NeighboursShareExperts) {
  const Mesh mesh{.data = 6, .expert = 2};
  EXPECT_EQ(expert_index(mesh, 3), 1);
  EXPECT_EQ(expert_replica_index(mesh, {.data = 3}), 1);
  EXPECT_EQ(expert_replica_index(mesh, {.data = 5}), 2);
}

TEST(Mesh, ReplicasThatHoldTheSameExpertsFollowEachOther) {
  const Mesh mesh{.data = 6, .expert = 2, .context = 2};
  for (int64_t replica = 0; replica < mesh.replicas(); ++replica) {
    const MeshPlace place = place_of_replica(mesh, replica);
    EXPECT_EQ(replica_index(mesh, place), replica);
    EXPECT_EQ(place.context, replica / 6);
    EXPECT_EQ(expert_index(mesh, place.data), replica / 3 % 2);
    EXPECT_EQ(expert_replica_index(mesh, place), replica / 6 * 3 + replica % 3);
  }
}

}  // namespace
}  // namespace fern
