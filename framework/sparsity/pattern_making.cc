#include "framework/sparsity/pattern_making.h"

#include "framework/core/error.h"
#include "framework/sparsity/butterfly.h"
#include "framework/sparsity/cells.h"
#include "framework/sparsity/keyed_sample.h"

namespace fern {

Pattern pattern_at(const SparseWeight& weight, std::span<const uint64_t> positions) {
  const auto columns = static_cast<uint64_t>(weight.block_columns());
  std::vector<int64_t> row_begin(static_cast<size_t>(weight.block_rows()) + 1);
  std::vector<uint16_t> index;
  index.reserve(positions.size());
  size_t row = 0;
  uint64_t first = 0;  // position in the row
  for (const uint64_t position : positions) {
    expect(first <= position && position < static_cast<uint64_t>(weight.blocks()),
           "[pattern] {}: expected ascending rows of positions below {}, got {}", weight.name,
           weight.blocks(), position);
    for (; position >= first + columns; first += columns)
      row_begin[++row] = static_cast<int64_t>(index.size());
    index.push_back(static_cast<uint16_t>(position - first));
  }
  while (++row < row_begin.size()) row_begin[row] = static_cast<int64_t>(index.size());
  return {weight.rows, weight.columns, weight.block, std::move(row_begin), std::move(index)};
}

Pattern initial_pattern(const SparsityConfig& config, const SparseWeight& weight, int64_t blocks,
                        uint64_t seed) {
  if (config.pattern == PatternKind::kButterfly) return largest_butterfly(weight, blocks);
  const Cells cells = cells_of(config, weight);
  expect(blocks % cells.count == 0, "[pattern] {}: expected as many blocks in each of {} cells, got {}",
         weight.name, cells.count, blocks);
  const uint64_t key = sample_key(seed, Purpose::kTopology, weight.name, 0);
  std::vector<uint64_t> positions;
  positions.reserve(static_cast<size_t>(blocks));
  for (int64_t cell = 0; cell < cells.count; ++cell)
    for (const uint64_t inside : keyed_sample(blocks / cells.count, cells.positions, seed, Purpose::kTopology,
                                              key + static_cast<uint64_t>(cell)))
      positions.push_back(static_cast<uint64_t>(cell * cells.positions) + inside);
  return pattern_at(weight, positions);
}

}  // namespace fern
