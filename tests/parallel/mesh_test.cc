#include "parallel/mesh.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "framework/train/stage_schedule.h"

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

using Kind = StageAction::Kind;

std::string text_of(const std::vector<StageAction>& actions) {
  std::string text;
  for (const auto& [kind, index] : actions) {
    const char sign = kind == Kind::kBeginShard ? '['
                      : kind == Kind::kForward  ? 'F'
                      : kind == Kind::kBackward ? 'B'
                                                : ']';
    text += fmt::format("{}{}{}", text.empty() ? "" : " ", sign, index);
  }
  return text;
}

TEST(Schedule, OneStageAlternates) {
  EXPECT_EQ(text_of(one_forward_one_backward(0, 1, 4, 2)), "[0 F0 B0 F1 B1 ]0 [1 F2 B2 F3 B3 ]1");
}

TEST(Schedule, EarlierStagesGoAheadByTheStagesAfterThem) {
  EXPECT_EQ(text_of(one_forward_one_backward(0, 3, 4, 2)), "F0 F1 F2 [0 B0 F3 B1 ]0 [1 B2 B3 ]1");
  EXPECT_EQ(text_of(one_forward_one_backward(1, 3, 4, 2)), "F0 F1 [0 B0 F2 B1 ]0 F3 [1 B2 B3 ]1");
  EXPECT_EQ(text_of(one_forward_one_backward(2, 3, 4, 2)), "[0 F0 B0 F1 B1 ]0 [1 F2 B2 F3 B3 ]1");
}

TEST(Schedule, FewMicroBatchesDoNotFillThePipeline) {
  EXPECT_EQ(text_of(one_forward_one_backward(0, 4, 2, 1)), "F0 F1 [0 B0 ]0 [1 B1 ]1");
  EXPECT_EQ(most_in_flight(0, 4, 2), 2);
  EXPECT_EQ(most_in_flight(2, 4, 8), 2);
}

}  // namespace
}  // namespace fern
