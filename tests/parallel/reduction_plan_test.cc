#include "parallel/reduction_plan.h"

#include <gtest/gtest.h>

namespace fern {
namespace {

TEST(ReductionPlan, SlicesAreWholeChunksSplitEvenlyAndInOrder) {
  const ReductionPlan plan = plan_reduction(10 * kParameterChunk, 4, 1, 4, 0);
  int64_t at = 0;
  for (const Slice& slice : plan.slices) {
    EXPECT_EQ(slice.begin, at);
    EXPECT_EQ(slice.elements() % kParameterChunk, 0);
    EXPECT_GE(slice.elements(), 2 * kParameterChunk);
    EXPECT_LE(slice.elements(), 3 * kParameterChunk);
    at = slice.end;
  }
  EXPECT_EQ(at, 10 * kParameterChunk);
}

TEST(ReductionPlan, ZeroKeepsASliceOnEachRank) {
  for (int rank = 0; rank < 4; ++rank) {
    const ReductionPlan plan = plan_reduction(10 * kParameterChunk, 4, rank, 4, 1);
    EXPECT_EQ(plan.kept(), plan.slices[static_cast<size_t>(rank)]);
  }
}

TEST(ReductionPlan, ModelOfFewerChunksThanRanksStaysWhole) {
  const ReductionPlan plan = plan_reduction(2 * kParameterChunk, 8, 0, 8, 1);
  EXPECT_EQ(plan.kept(), (Slice{0, 2 * kParameterChunk}));
  int64_t total = 0;
  for (const Slice& slice : plan.slices) total += slice.elements();
  EXPECT_EQ(total, 2 * kParameterChunk);
}

TEST(ReductionPlan, PowersOfTwoSendOneNodeEach) {
  for (int ranks : {2, 4, 8})
    EXPECT_EQ(plan_reduction(kParameterChunk, 16, 0, ranks, 0).foreign_nodes(), ranks - 1);
}

TEST(ReductionPlan, PiecesCoverTheSlice) {
  const ReductionPlan plan = plan_reduction(1001 * kParameterChunk, 2, 1, 2, 0);
  int64_t at = plan.slice().begin;
  for (int64_t i = 0; i < plan.pieces; ++i) {
    EXPECT_EQ(plan.piece_of(1, i).begin, at);
    at = plan.piece_of(1, i).end;
  }
  EXPECT_EQ(at, plan.slice().end);
  EXPECT_EQ(plan.piece_of(1, plan.pieces).elements(), 0);
}

TEST(ReductionPlan, RoomForOtherRanksPiecesStaysBounded) {
  const ReductionPlan plan = plan_reduction(1 << 24, 256, 0, 256, 0);
  EXPECT_LE(2 * plan.foreign_nodes() * plan.piece * int64_t{sizeof(float)}, int64_t{64} << 20);
}

}  // namespace
}  // namespace fern
