// This rank's side of the board: what it has called, and whether others have called the same.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "parallel/board.h"

namespace fern {

// One thread calls; differing() and newest() may also be asked by another.
class RankRecord {
 public:
  // Shows this rank on the board. The board's memory is borrowed.
  RankRecord(Board board, int rank);
  Board& board() { return board_; }
  int rank() const { return rank_; }
  Pulse& pulse() { return board_.slot(rank_).pulse; }

  // This rank is in this group of the axis, 0 or more; with its members it is compared.
  void join(Axis axis, int group) { board_.slot(rank_).groups[static_cast<size_t>(axis)].store(1 + group); }
  // Shows the next collective of `next.stream`. Its sequence, chain and place are filled in here.
  void begin(Fingerprint next);
  void wait_in(int stream) { board_.slot(rank_).waits_in.store(stream, std::memory_order_relaxed); }
  // A collective is done, or work goes on.
  void go_on();
  void leave(Presence how) { board_.slot(rank_).presence.store(how); }

  // This rank's call where `rank`'s newest call in the stream is another; what both have called since the
  // last look counts, as far back as kRemembered.
  std::optional<Fingerprint> differing(int rank, int stream) const;

  static constexpr size_t kRemembered = 64;

 private:
  struct Stream {
    Fingerprint newest;  // of the thread that calls
    std::array<Seqlock<Fingerprint>, kRemembered> history;
  };

  Board board_;
  int rank_;
  std::array<Stream, kStreams> streams_;
};

}  // namespace fern
