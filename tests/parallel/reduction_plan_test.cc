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
    EXPECT_EQ(plan.kept_by(rank), plan.slices[static_cast<size_t>(rank)]);
  }
}

TEST(ReductionPlan, ModelOfFewerChunksThanRanksStaysWhole) {
  const ReductionPlan plan = plan_reduction(2 * kParameterChunk, 8, 0, 8, 1);
  EXPECT_EQ(plan.kept_by(0), (Slice{0, 2 * kParameterChunk}));
  int64_t total = 0;
  for (const Slice& slice : plan.slices) total += slice.elements();
  EXPECT_EQ(total, 2 * kParameterChunk);
}

TEST(ReductionPlan, PowersOfTwoSendOneNodeEach) {
  for (int ranks : {2, 4, 8})
    EXPECT_EQ(plan_reduction(kParameterChunk, 16, 0, ranks, 0).foreign_nodes(), ranks - 1);
}

TEST(ReductionPlan, RoundsDealShardsInTurn) {
  const ReductionPlan plan = plan_reduction(8 * kParameterChunk, 6, 1, 2, 2);
  EXPECT_EQ(plan.shard(0), 1);
  EXPECT_EQ(plan.shard(2), 5);
  ASSERT_EQ(plan.rounds.size(), 3u);
  EXPECT_EQ(plan.rounds[1].nodes, (std::vector<TreeNode>{{2, 0}}));
  EXPECT_EQ(plan.rounds[2].nodes.size(), 1u);
  EXPECT_EQ(plan_reduction(8 * kParameterChunk, 6, 1, 2, 1).shard(0), 3);
}

// Two runs of shards, 0 to 5 and 6 to 11, each of two ranks.
TEST(ReductionPlan, RoundsDealTheShardsOfEachRunToItsRanks) {
  for (int rank = 0; rank < 4; ++rank) {
    const ReductionPlan dealt = plan_reduction(8 * kParameterChunk, 12, rank, 4, 2, kLargestBucket, 2),
                        summed = plan_reduction(8 * kParameterChunk, 12, rank, 4, 1, kLargestBucket, 2);
    for (int64_t i = 0; i < 3; ++i) {
      EXPECT_EQ(dealt.shard(i), rank / 2 * 6 + 2 * i + rank % 2);
      EXPECT_EQ(summed.shard(i), rank * 3 + i);
    }
  }
}

// Ranks of one run at the same place of it and those of the others take shards together: of the run's shards
// they are the same, on however many ranks, and in whichever order.
TEST(ReductionPlan, ShardsThatAreTakenTogetherDoNotDependOnRanks) {
  constexpr int64_t kShards = 12, kRuns = 2;
  for (int ranks : {2, 4, 6, 12})
    for (int64_t zero : {0, 2})
      for (int rank = 0; rank < ranks / kRuns; ++rank) {
        const ReductionPlan plan =
            plan_reduction(kParameterChunk, kShards, rank, ranks, zero, kLargestBucket, kRuns);
        for (int64_t i = 0; i < plan.share(); ++i)
          EXPECT_EQ(plan.shard_of(rank + static_cast<int>(ranks / kRuns), i),
                    plan.shard(i) + kShards / kRuns);
      }
}

TEST(ReductionPlan, RoundsOfSeveralRunsEndInOneSum) {
  for (int64_t runs : {2, 3, 4})
    for (int64_t ranks_of_run : {1, 2, 3})
      for (int64_t rounds : {1, 2, 3, 4}) {
        const int64_t ranks = runs * ranks_of_run;
        const ReductionPlan plan = plan_reduction(kParameterChunk, ranks * rounds, 0, static_cast<int>(ranks),
                                                  2, kLargestBucket, runs);
        ASSERT_EQ(std::ssize(plan.rounds), rounds);
        EXPECT_EQ(plan.rounds.back().nodes.size(), 1u) << runs << ", " << ranks_of_run << ", " << rounds;
      }
}

TEST(ReductionPlan, AsFewSumsWaitBetweenRoundsAsTheTreeNeeds) {
  const auto waiting = [](int64_t shards, int ranks) {
    return plan_reduction(8 * kParameterChunk, shards, 0, ranks, 2).most_waiting();
  };
  EXPECT_EQ(waiting(4, 4), 0);
  EXPECT_EQ(waiting(8, 4), 1);
  EXPECT_EQ(waiting(16, 4), 2);
  EXPECT_EQ(waiting(32, 4), 3);
  EXPECT_EQ(plan_reduction(8 * kParameterChunk, 32, 0, 4, 1).most_waiting(), 0);
}

TEST(ReductionPlan, PartsAreNoLongerOfFewerElements) {
  for (int ranks : {3, 5, 7})
    for (int64_t chunks = 2; chunks < 40; ++chunks) {
      const ReductionPlan longer = plan_reduction(chunks * kParameterChunk, ranks, 0, ranks, 2);
      const ReductionPlan shorter = resized(longer, (chunks - 1) * kParameterChunk);
      for (size_t r = 0; r < longer.slices.size(); ++r)
        EXPECT_LE(shorter.slices[r].elements(), longer.slices[r].elements()) << ranks << ", " << chunks;
    }
}

// Gradual pruning shortens the buffer step by step; the room for arrivals stays what it was.
TEST(ReductionPlan, RoomSufficesForFewerElements) {
  for (int64_t zero : {0, 1, 2})
    for (int ranks : {2, 3, 4})
      for (int rank = 0; rank < ranks; ++rank)
        for (int64_t chunks = 5; chunks < 100; ++chunks) {
          const ReductionPlan longer =
              plan_reduction(chunks * kParameterChunk, ranks, rank, ranks, zero, 33 * kParameterChunk);
          const ReductionPlan shorter = resized(longer, (chunks - 1) * kParameterChunk);
          EXPECT_LE(shorter.longest_part(), longer.longest_part()) << ranks << ", " << chunks;
          EXPECT_LE(shorter.all_parts(), longer.all_parts()) << ranks << ", " << chunks;
          for (int64_t i = 0; i < shorter.buckets; ++i)
            EXPECT_LE(shorter.part_of(rank, i).elements(), shorter.longest_part());
        }
}

// Shares of matrices lose weights, and get them back.
TEST(ReductionPlan, IsTheSameAgainAfterTheBufferWasShorter) {
  const ReductionPlan plan = plan_reduction(70 * kParameterChunk, 4, 1, 4, 2);
  const ReductionPlan again = resized(resized(plan, kParameterChunk), 70 * kParameterChunk);
  EXPECT_EQ(again.bucket, plan.bucket);
  EXPECT_EQ(again.buckets, plan.buckets);
  EXPECT_EQ(again.all_parts(), plan.all_parts());
}

TEST(ReductionPlan, BucketsAreWholeChunksFromTheEndOfTheBuffer) {
  const ReductionPlan plan = plan_reduction(7 * kParameterChunk, 2, 1, 2, 0, 3 * kParameterChunk);
  ASSERT_EQ(plan.buckets, 3);
  EXPECT_EQ(plan.bucket_of(0), (Slice{4 * kParameterChunk, 7 * kParameterChunk}));
  EXPECT_EQ(plan.bucket_of(1), (Slice{kParameterChunk, 4 * kParameterChunk}));
  EXPECT_EQ(plan.bucket_of(2), (Slice{0, kParameterChunk}));
}

TEST(ReductionPlan, SmallModelIsOneBucket) {
  const ReductionPlan plan = plan_reduction(kParameterChunk, 4, 1, 4, 1);
  ASSERT_EQ(plan.buckets, 1);
  EXPECT_EQ(plan.bucket_of(0), (Slice{0, kParameterChunk}));
}

TEST(ReductionPlan, PartsCoverEachBucket) {
  for (int64_t zero : {0, 1, 2})
    for (int ranks : {1, 2, 3, 4, 7}) {
      const ReductionPlan plan =
          plan_reduction(10 * kParameterChunk, ranks, 0, ranks, zero, 3 * kParameterChunk);
      for (int64_t i = 0; i < plan.buckets; ++i) {
        int64_t at = plan.bucket_of(i).begin;
        for (int rank = 0; rank < ranks; ++rank) {
          const Slice part = plan.part_of(rank, i);
          if (part.elements() == 0) continue;
          EXPECT_EQ(part.begin, at) << ranks << " ranks, zero " << zero << ", bucket " << i;
          at = part.end;
        }
        EXPECT_EQ(at, plan.bucket_of(i).end);
      }
    }
}

TEST(ReductionPlan, PartsAreEven) {
  for (int64_t zero : {0, 1, 2}) {
    const ReductionPlan plan = plan_reduction(10 * kParameterChunk, 4, 0, 4, zero, 3 * kParameterChunk);
    for (int rank = 0; rank < 4; ++rank)
      EXPECT_EQ(plan.part_of(rank, 0).elements(), 3 * kParameterChunk / 4) << "zero " << zero;
  }
}

TEST(ReductionPlan, TwoRanksWithSlicesAddUpTheirOwn) {
  const ReductionPlan plan = plan_reduction(4 * kParameterChunk, 2, 0, 2, 1, 3 * kParameterChunk);
  EXPECT_EQ(plan.part_of(0, 0), (Slice{kParameterChunk, 2 * kParameterChunk}));
  EXPECT_EQ(plan.part_of(1, 0), (Slice{2 * kParameterChunk, 4 * kParameterChunk}));
}

TEST(ReductionPlan, RoomForOtherRanksPartsStaysBounded) {
  for (int64_t zero : {0, 1, 2})
    for (int ranks : {2, 8, 256}) {
      const ReductionPlan plan = plan_reduction(int64_t{1} << 26, 256, 0, ranks, zero);
      EXPECT_LE(plan.foreign_nodes() * plan.longest_part() * int64_t{sizeof(float)}, int64_t{2} << 20)
          << ranks << " ranks, zero " << zero;
    }
}

}  // namespace
}  // namespace fern
