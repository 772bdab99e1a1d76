#include "parallel/board.h"

namespace fern {

static_assert(std::atomic<int64_t>::is_always_lock_free && std::atomic<Presence>::is_always_lock_free &&
              std::atomic<Activity>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);
static_assert(std::is_standard_layout_v<RankSlot> && std::is_standard_layout_v<BoardHeader>);

Board::Board(std::span<std::byte> memory, int ranks) {
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  const size_t skipped = (alignof(RankSlot) - address % alignof(RankSlot)) % alignof(RankSlot);
  std::byte* const begin = memory.data() + skipped;
  header_ = reinterpret_cast<BoardHeader*>(begin);
  slots_ = {reinterpret_cast<RankSlot*>(begin + sizeof(BoardHeader)), static_cast<size_t>(ranks)};
}

}  // namespace fern
