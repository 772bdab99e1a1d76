#include "parallel/watcher.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <thread>
#include <vector>

#include "parallel/process_view.h"
#include "tests/parallel/stopped_process.h"

namespace fern {
namespace {

// Rank 0 looks at the processes of ranks 1 and 2 all the time, at that of rank 3 only once it is still.
TEST(Watcher, StoppedRankIsNotTakenForOneThatDoesNotGetOn) {
  constexpr int kRanks = 4;
  constexpr double kStall_s = 1;
  std::vector<std::byte> memory(Board::bytes(kRanks));
  std::deque<RankRecord> ranks;
  for (int rank = 0; rank < kRanks; ++rank) ranks.emplace_back(Board(memory, kRanks), rank);
  for (size_t rank = 0; rank < 3; ++rank) {
    ranks[rank].begin({.bytes = 8, .kind = CollectiveKind::kSum});
    ranks[rank].wait_in(kBlockingStream);
  }
  ranks[3].pulse().begin_step(15);
  ranks[3].pulse().enter(Activity::kForward, 1);
  const StoppedProcess stopped;
  RankSlot& slot = ranks[0].board().slot(3);
  slot.process = stopped.id();
  slot.process_start = view_process(stopped.id()).value().start;
  EXPECT_EXIT(
      {
        const Watcher watcher(ranks[0], kStall_s);
        std::this_thread::sleep_for(std::chrono::seconds(20));
        _exit(0);
      },
      ::testing::ExitedWithCode(4), "rank 3 is stopped");
}

}  // namespace
}  // namespace fern
