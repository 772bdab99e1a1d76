// Choosing blocks of a pattern by the size of their weights, and the pattern that a choice leaves.
//
// Blocks go by their worth (top_k.h): the sum of |weight| over the block, in f32 and in the order of the
// values, ties to the lower position; a block that is not a number is the smallest.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/sparsity/cells.h"
#include "framework/sparsity/pattern.h"
#include "framework/sparsity/top_k.h"

namespace fern {

// Worth of each block, in the order of the pattern. REQUIRES: values are the pattern's.
std::vector<uint64_t> block_worths(const Pattern& pattern, std::span<const float> values);
// Position of each block, ascending.
std::vector<uint64_t> block_positions(const Pattern& pattern);

// Positions of the `count` smallest of all blocks, ascending, at most room[cell] of each cell: blocks beyond
// are passed over, and fewer than `count` go when every cell is out of room. REQUIRES: worths in the order of
// the pattern.
std::vector<uint64_t> smallest_blocks(std::vector<uint64_t> worths, int64_t count, const Cells& cells,
                                      std::span<const int64_t> room);
// Positions of the `per_cell` largest of each cell, ascending. REQUIRES: worths in the order of the pattern.
std::vector<uint64_t> largest_of_cells(std::span<const uint64_t> worths, int64_t per_cell,
                                       const Cells& cells);
// How many blocks of each list are among the `count` largest of all lists; ties to the earlier list.
std::vector<int64_t> counts_among_largest(std::span<const std::vector<uint64_t>> worths, int64_t count);

// Makes positions ascending that come cell after cell already.
void sort_within_cells(std::span<uint64_t> positions, const Cells& cells);
// How many of `positions` each cell has.
std::vector<int64_t> counts_of_cells(std::span<const uint64_t> positions, const Cells& cells);

// The pattern less the blocks of `dropped`, with those of `grown`. REQUIRES: both ascending; the first exist,
// the second do not.
Pattern changed(const Pattern& now, std::span<const uint64_t> dropped, std::span<const uint64_t> grown);

}  // namespace fern
