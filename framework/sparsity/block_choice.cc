#include "framework/sparsity/block_choice.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "framework/core/error.h"
#include "framework/sparsity/pattern_making.h"

namespace fern {

std::vector<uint64_t> block_positions(const Pattern& pattern) {
  std::vector<uint64_t> positions;
  positions.reserve(static_cast<size_t>(pattern.blocks()));
  for (int64_t r = 0; r < pattern.block_rows(); ++r)
    for (const uint16_t c : pattern.row(r))
      positions.push_back(static_cast<uint64_t>(r * pattern.block_columns()) + c);
  return positions;
}

std::vector<uint64_t> block_worths(const Pattern& pattern, std::span<const float> values) {
  expect(static_cast<int64_t>(values.size()) == pattern.nonzeros(),
         "[block_choice] expected {} values, got {}", pattern.nonzeros(), values.size());
  std::vector<uint64_t> worths = block_positions(pattern);
  const auto elements = static_cast<size_t>(pattern.block().elements());
#pragma omp parallel for schedule(static)
  for (size_t b = 0; b < worths.size(); ++b) {
    float sum = 0;
    for (const float value : values.subspan(b * elements, elements)) sum += std::abs(value);
    worths[b] = worth_of(sum, worths[b]);
  }
  return worths;
}

namespace {

// Whether no cell can run out of room, whichever `count` blocks go.
bool has_room(std::span<const uint64_t> worths, int64_t count, const Cells& cells,
              std::span<const int64_t> room) {
  if (cells.whole()) return count <= room[0];
  std::vector<int64_t> left(room.begin(), room.end());
  return std::ranges::all_of(
      worths, [&](uint64_t worth) { return left[static_cast<size_t>(cells.of(position_of(worth)))]-- > 0; });
}

// Worths come in the order of positions, so those below the limit need no sorting.
std::vector<uint64_t> smallest_of_all(std::span<const uint64_t> worths, int64_t count) {
  std::vector<uint64_t> chosen(worths.begin(), worths.end());
  if (count >= std::ssize(worths)) count = std::ssize(worths);
  uint64_t limit = std::numeric_limits<uint64_t>::max();
  if (count < std::ssize(worths)) {
    std::nth_element(chosen.begin(), chosen.begin() + count, chosen.end());
    limit = chosen[static_cast<size_t>(count)];
  }
  chosen.clear();
  for (const uint64_t worth : worths)
    if (worth < limit) chosen.push_back(position_of(worth));
  return chosen;
}

}  // namespace

std::vector<uint64_t> smallest_blocks(std::vector<uint64_t> worths, int64_t count, const Cells& cells,
                                      std::span<const int64_t> room) {
  if (has_room(worths, count, cells, room)) return smallest_of_all(worths, count);
  std::vector<int64_t> left(room.begin(), room.end());
  std::vector<uint64_t> chosen;
  // Sorts no more than is looked at: cells without room make the search go on past the first `count`.
  for (auto begin = worths.begin(); begin != worths.end() && std::ssize(chosen) < count;) {
    const auto end = begin + std::min<std::ptrdiff_t>(count - std::ssize(chosen), worths.end() - begin);
    std::nth_element(begin, end, worths.end());
    std::sort(begin, end);
    for (; begin != end; ++begin) {
      const uint64_t position = position_of(*begin);
      if (left[static_cast<size_t>(cells.of(position))]-- > 0) chosen.push_back(position);
    }
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<uint64_t> largest_of_cells(std::span<const uint64_t> worths, int64_t per_cell,
                                       const Cells& cells) {
  std::vector<uint64_t> chosen;
  for (size_t begin = 0, end = 0; begin < worths.size(); begin = end) {
    const int64_t cell = cells.of(position_of(worths[begin]));
    while (end < worths.size() && cells.of(position_of(worths[end])) == cell) ++end;
    std::vector<uint64_t> of_cell(worths.begin() + static_cast<std::ptrdiff_t>(begin),
                                  worths.begin() + static_cast<std::ptrdiff_t>(end));
    const auto kept = std::min(static_cast<size_t>(per_cell), of_cell.size());
    std::nth_element(of_cell.begin(), of_cell.begin() + static_cast<std::ptrdiff_t>(kept), of_cell.end(),
                     std::greater<>());
    for (size_t i = 0; i < kept; ++i) chosen.push_back(position_of(of_cell[i]));
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<int64_t> counts_among_largest(std::span<const std::vector<uint64_t>> worths, int64_t count) {
  std::vector<uint64_t> all;  // rank of the score, then the earlier list
  for (size_t list = 0; list < worths.size(); ++list)
    for (const uint64_t worth : worths[list]) all.push_back((worth >> 32 << 32) | (kMostPositions - list));
  std::nth_element(all.begin(), all.begin() + count, all.end(), std::greater<>());
  std::vector<int64_t> counts(worths.size());
  for (int64_t i = 0; i < count; ++i) ++counts[position_of(all[static_cast<size_t>(i)])];
  return counts;
}

void sort_within_cells(std::span<uint64_t> positions, const Cells& cells) {
  for (auto begin = positions.begin(); begin != positions.end();) {
    const uint64_t first = *begin / static_cast<uint64_t>(cells.positions) *
                           static_cast<uint64_t>(cells.positions),
                   last = first + static_cast<uint64_t>(cells.positions);
    const auto end = std::find_if(begin, positions.end(), [&](uint64_t p) { return p < first || p >= last; });
    std::sort(begin, end);
    begin = end;
  }
}

std::vector<int64_t> counts_of_cells(std::span<const uint64_t> positions, const Cells& cells) {
  std::vector<int64_t> counts(static_cast<size_t>(cells.count));
  for (const uint64_t position : positions) ++counts[static_cast<size_t>(cells.of(position))];
  return counts;
}

Pattern changed(const Pattern& now, std::span<const uint64_t> dropped, std::span<const uint64_t> grown) {
  const std::vector<uint64_t> before = block_positions(now);
  std::vector<uint64_t> kept, after;
  kept.reserve(before.size());
  after.reserve(before.size() + grown.size());
  std::set_difference(before.begin(), before.end(), dropped.begin(), dropped.end(), std::back_inserter(kept));
  std::merge(kept.begin(), kept.end(), grown.begin(), grown.end(), std::back_inserter(after));
  expect(kept.size() + dropped.size() == before.size(),
         "[block_choice] expected to drop {} blocks that exist, found {}", dropped.size(),
         before.size() - kept.size());
  return pattern_at({"a changed weight", now.rows(), now.columns(), now.block()}, after);
}

}  // namespace fern
