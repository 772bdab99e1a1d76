#include "parallel/judge.h"

#include <gtest/gtest.h>

namespace fern {
namespace {

constexpr double kStall_s = 10;

Sighting working(double still_s) {
  return {.presence = Presence::kHere,
          .state = 'R',
          .position = {.step = 7, .layer = 3, .activity = Activity::kBackward},
          .still_s = still_s,
          .still_cpu_s = still_s};
}

Sighting waiting(double still_s, uint64_t sequence = 5) {
  Sighting sighting = working(still_s);
  sighting.waits_in = kBlockingStream;
  sighting.waits_for = {.sequence = sequence,
                        .bytes = 64,
                        .where = {.step = 7, .layer = -1, .activity = Activity::kReduce},
                        .kind = CollectiveKind::kSum};
  return sighting;
}

std::vector<int> at_fault(const std::vector<Sighting>& ranks, int observer = 0) {
  const auto verdict = judge(ranks, observer, kStall_s);
  return verdict ? verdict->ranks : std::vector<int>{};
}

TEST(Judge, RankThatDoesNothingWhileOthersWaitIsAtFault) {
  const std::vector<Sighting> ranks = {waiting(8), waiting(8), working(9.5)};
  EXPECT_EQ(at_fault(ranks), std::vector<int>{2});
  EXPECT_EQ(judge(ranks, 0, kStall_s)->text,
            "rank 2 does not get on (an endless loop, a lock, or one operation that takes longer than "
            "parallel.stall_seconds); it was in step 7, backward pass, layer 3; rank 0 waits in "
            "all_reduce_sum of 64 bytes (collective 5, step 7, gradient sums)");
}

TEST(Judge, RankThatWorksIsNot) { EXPECT_TRUE(at_fault({waiting(100), waiting(100), working(1)}).empty()); }

TEST(Judge, SavingMayTakeLong) {
  Sighting saving = working(100);
  saving.position.activity = Activity::kSave;
  EXPECT_TRUE(at_fault({waiting(100), saving}).empty());
  saving.still_s = kLongPatience * kStall_s;
  EXPECT_EQ(at_fault({waiting(100), saving}), std::vector<int>{1});
}

TEST(Judge, WaitingForTheDiskMayTakeLong) {
  Sighting reading = working(100);
  reading.state = 'D';
  EXPECT_TRUE(at_fault({waiting(100), reading}).empty());
}

TEST(Judge, RankWithoutProcessorTimeHasLonger) {
  Sighting starved = working(12);
  starved.still_cpu_s = 1;
  EXPECT_TRUE(at_fault({waiting(12), starved}).empty());
  starved.still_s = 40;
  EXPECT_EQ(at_fault({waiting(40), starved}), std::vector<int>{1});
}

TEST(Judge, RankUnderADebuggerHasForEver) {
  Sighting debugged = working(1e6);
  debugged.traced = true;
  EXPECT_TRUE(at_fault({waiting(1e6), debugged}).empty());
}

TEST(Judge, StoppedRankIsAtFaultWhateverItWasAt) {
  Sighting stopped = working(9.5);
  stopped.position.activity = Activity::kSave;
  stopped.state = 'T';
  stopped.stopped_s = 8;
  EXPECT_TRUE(at_fault({waiting(9), stopped}).empty());
  stopped.stopped_s = 9.5;
  EXPECT_EQ(at_fault({waiting(9), stopped}), std::vector<int>{1});
}

TEST(Judge, ProcessThatIsGoneIsAtFaultAtOnce) {
  Sighting gone = working(0);
  gone.gone = true;
  EXPECT_EQ(at_fault({working(0), gone}), std::vector<int>{1});
  gone.presence = Presence::kLeft;
  EXPECT_TRUE(at_fault({working(0), gone}).empty()) << "it ended its work";
}

TEST(Judge, RankThatLeftWhileOthersWaitIsAtFault) {
  Sighting left = working(20);
  left.presence = Presence::kLeft;
  left.ended_s = 20;
  EXPECT_EQ(at_fault({waiting(10), left}), std::vector<int>{1});
}

TEST(Judge, NothingIsSaidWhenAllHaveLeft) {
  Sighting left = working(20);
  left.presence = Presence::kLeft;
  EXPECT_FALSE(judge(std::vector<Sighting>{left, left}, 0, kStall_s));
}

TEST(Judge, MostRanksAreRightAboutTheCall) {
  Sighting other = waiting(1);
  other.other_call = other.waits_for;
  other.own_call = other.waits_for;
  other.differs_s = 0.2;
  EXPECT_TRUE(at_fault({waiting(1), waiting(1), other}).empty()) << "not all have called";
  other.differs_s = 0.6;
  EXPECT_EQ(at_fault({waiting(1), waiting(1), other}), std::vector<int>{2});
  EXPECT_EQ(at_fault({waiting(1), other, other}), std::vector<int>{0});
}

TEST(Judge, RankThatWaitsElsewhereThanMostIsAtFault) {
  EXPECT_EQ(at_fault({waiting(9.5), waiting(9.5), waiting(9.5, 6)}), std::vector<int>{2});
  EXPECT_TRUE(at_fault({waiting(9.5), waiting(9.5), waiting(1, 6)}).empty()) << "it has just come there";
}

TEST(Judge, AllInOnePlaceHaveLong) {
  EXPECT_FALSE(judge(std::vector<Sighting>{waiting(100), waiting(100)}, 0, kStall_s));
  const auto verdict = judge(std::vector<Sighting>{waiting(600), waiting(600)}, 0, kStall_s);
  ASSERT_TRUE(verdict);
  EXPECT_TRUE(verdict->ranks.empty());
}

TEST(Judge, RanksOfOtherMachinesAreNotJudged) { EXPECT_TRUE(at_fault({waiting(100), Sighting{}}).empty()); }

}  // namespace
}  // namespace fern
