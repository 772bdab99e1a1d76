#include "parallel/rank_record.h"

#include <gtest/gtest.h>

#include <vector>

namespace fern {
namespace {

// Two ranks and their board.
struct Pair {
  std::vector<std::byte> memory = std::vector<std::byte>(Board::bytes(2));
  RankRecord zero{Board(memory, 2), 0};
  RankRecord one{Board(memory, 2), 1};
};

Fingerprint sum_of(int64_t bytes) { return {.bytes = bytes, .kind = CollectiveKind::kSum}; }

TEST(RankRecord, EqualCallsDoNotDiffer) {
  Pair ranks;
  for (int64_t i = 0; i < 200; ++i) {
    ranks.zero.begin(sum_of(i));
    ranks.one.begin(sum_of(i));
    ASSERT_FALSE(ranks.zero.differing(1, kBlockingStream));
    ASSERT_FALSE(ranks.one.differing(0, kBlockingStream));
  }
}

TEST(RankRecord, AnotherSizeDiffers) {
  Pair ranks;
  ranks.zero.begin(sum_of(8));
  ranks.one.begin(sum_of(16));
  const auto ours = ranks.zero.differing(1, kBlockingStream);
  ASSERT_TRUE(ours);
  EXPECT_EQ(ours->bytes, 8);
}

TEST(RankRecord, AnotherKindDiffers) {
  Pair ranks;
  ranks.zero.begin({.bytes = 8, .kind = CollectiveKind::kSum});
  ranks.one.begin({.bytes = 8, .kind = CollectiveKind::kBroadcast});
  EXPECT_TRUE(ranks.one.differing(0, kBlockingStream));
}

TEST(RankRecord, AnotherStepDiffers) {
  Pair ranks;
  ranks.zero.pulse().begin_step(1);
  ranks.one.pulse().begin_step(2);
  ranks.zero.begin(sum_of(8));
  ranks.one.begin(sum_of(8));
  EXPECT_TRUE(ranks.zero.differing(1, kBlockingStream));
}

// Who is ahead is held to its past when the other comes there.
TEST(RankRecord, DifferenceIsFoundAlsoBehindOne) {
  Pair ranks;
  ranks.zero.begin(sum_of(8));
  ranks.zero.begin(sum_of(8));
  ranks.one.begin(sum_of(16));
  EXPECT_FALSE(ranks.one.differing(0, kBlockingStream)) << "it has not come so far";
  EXPECT_TRUE(ranks.zero.differing(1, kBlockingStream));
  ranks.one.begin(sum_of(8));
  EXPECT_TRUE(ranks.one.differing(0, kBlockingStream)) << "what differed once stays so";
}

TEST(RankRecord, LanesHaveOrdersOfTheirOwn) {
  Pair ranks;
  const Fingerprint first{.bytes = 8, .stream = stream_of_lane(0), .kind = CollectiveKind::kExchange};
  const Fingerprint second{.bytes = 16, .stream = stream_of_lane(1), .kind = CollectiveKind::kExchange};
  ranks.zero.begin(first);
  ranks.zero.begin(second);
  ranks.one.begin(second);
  ranks.one.begin(first);
  for (int stream = 0; stream < kStreams; ++stream) EXPECT_FALSE(ranks.zero.differing(1, stream));
}

TEST(RankRecord, CallIsToldWithItsPlace) {
  Pair ranks;
  ranks.zero.pulse().begin_step(12);
  ranks.zero.pulse().enter(Activity::kBackward, 4);
  EXPECT_EQ(text_of(ranks.zero.pulse().position()), "step 12, backward pass, layer 4");
  ranks.zero.begin({.bytes = 4096,
                    .stream = stream_of_lane(2),
                    .index = 10,
                    .first_layer = 3,
                    .last_layer = 4,
                    .kind = CollectiveKind::kExchange});
  const auto shown = ranks.one.board().slot(0).newest[static_cast<size_t>(stream_of_lane(2))].load();
  ASSERT_TRUE(shown);
  EXPECT_EQ(text_of(*shown),
            "exchange of gradient bucket 10, layers 3 to 4 of 4096 bytes (number 1 on lane 2, step 12, "
            "backward pass, layer 4)");
}

TEST(RankRecord, RowsOfExpertsAreToldWithTheirAxis) {
  Pair ranks;
  ranks.zero.pulse().begin_step(3);
  ranks.zero.pulse().enter(Activity::kForward, 1);
  const int stream = stream_of_lane(0, Axis::kExpert);
  ranks.zero.begin(
      {.bytes = 640, .stream = stream, .kind = CollectiveKind::kExchange, .cargo = Cargo::kRows});
  const auto shown = ranks.one.board().slot(0).newest[static_cast<size_t>(stream)].load();
  ASSERT_TRUE(shown);
  EXPECT_EQ(text_of(*shown),
            "exchange of the rows of tokens to their experts of 640 bytes (number 1 on lane 0 of the expert "
            "axis, step 3, forward pass, layer 1)");
}

}  // namespace
}  // namespace fern
