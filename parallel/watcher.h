// A thread that watches the ranks of this machine on their board, and ends this process with exit code 4 when
// one of them is at fault (judge.h).
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "parallel/judge.h"
#include "parallel/rank_record.h"

namespace fern {

class Watcher {
 public:
  // Borrows the record. REQUIRES: all ranks of the machine are on the board.
  Watcher(RankRecord& record, double stall_s);
  // Waits for the thread.
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int kNeighbours = 2;
  static constexpr auto kPeriod = std::chrono::milliseconds(100);

  struct Seen {
    Sighting sighting;
    uint64_t beats = 0;
    double cpu_then_s = 0;          // when it last did anything
    bool process_is_known = false;  // its id means something in this process
    bool is_neighbour = false;      // whose process this rank looks at all the time
  };

  void run(const std::stop_token& over);
  // Time that passed while this thread was awake: it does not count what it slept through, as when the
  // machine or this process was stopped, or had no processor for it.
  double elapsed_s();
  void choose_neighbours();
  void look_at(int rank, double elapsed_s);
  void look_at_process(Seen& seen, const RankSlot& slot, double elapsed_s) const;
  void look_for_another_call(int rank, double elapsed_s);
  // Says it once for all ranks of the machine, and ends this process.
  [[noreturn]] void end(const Verdict& verdict);
  [[noreturn]] static void end_quietly();

  RankRecord& record_;
  double stall_s_;
  std::vector<Seen> seen_;  // by rank
  Clock::time_point last_look_ = Clock::now();
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses all others
};

}  // namespace fern
