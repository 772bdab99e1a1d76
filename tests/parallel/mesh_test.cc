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
  EXPECT_EQ(replica_index(mesh, 3), 1);
  EXPECT_EQ(replica_index(mesh, 5), 2);
}

}  // namespace
}  // namespace fern
