// Where each rank of a machine shows the others how far it has come: shared memory, a slot a rank.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "framework/core/pulse.h"
#include "parallel/fingerprint.h"
#include "parallel/seqlock.h"

namespace fern {

enum class Presence : uint8_t {
  kElsewhere,  // on another machine: nothing is known of it
  kHere,
  kLeft,    // ended its work
  kFailed,  // ended by an error, of which it speaks itself
};

inline constexpr int32_t kNotWaiting = -1;

struct alignas(64) RankSlot {
  std::atomic<Presence> presence{Presence::kElsewhere};
  std::atomic<int32_t> waits_in{kNotWaiting};  // the stream whose newest collective it waits in
  std::atomic<int64_t> process{0};             // id
  std::atomic<uint64_t> process_start{0};      // tells it from a later process of that id
  Pulse pulse;
  std::array<std::atomic<int32_t>, kAxes> groups{};  // of each axis: 1 + the group; 0: in none
  std::array<Seqlock<Fingerprint>, kStreams> newest;
};

struct alignas(64) BoardHeader {
  std::atomic<int32_t> reporter{0};  // 1 + the rank that speaks for all; 0: none yet
  std::atomic<bool> reported{false};
};

// A view of shared memory; which zeroed is an empty board.
class Board {
 public:
  static size_t bytes(int ranks) {
    return alignof(RankSlot) + sizeof(BoardHeader) + static_cast<size_t>(ranks) * sizeof(RankSlot);
  }
  // REQUIRES: `memory` is of bytes(ranks).
  Board(std::span<std::byte> memory, int ranks);
  BoardHeader& header() { return *header_; }
  RankSlot& slot(int rank) { return slots_[static_cast<size_t>(rank)]; }
  const RankSlot& slot(int rank) const { return slots_[static_cast<size_t>(rank)]; }
  // Whether two ranks are in the same group of an axis.
  bool share_group(int a, int b, Axis axis) const {
    const auto at = static_cast<size_t>(axis);
    const int32_t group = slot(a).groups[at].load(std::memory_order_relaxed);
    return group > 0 && group == slot(b).groups[at].load(std::memory_order_relaxed);
  }
  int ranks() const { return static_cast<int>(slots_.size()); }

 private:
  BoardHeader* header_;
  std::span<RankSlot> slots_;
};

}  // namespace fern
