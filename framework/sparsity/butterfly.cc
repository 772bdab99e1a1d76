#include "framework/sparsity/butterfly.h"

#include <algorithm>

#include "framework/core/error.h"

namespace fern {

namespace {

int64_t side_of(const SparseWeight& weight) { return std::min(weight.block_rows(), weight.block_columns()); }

// Columns of row `row` of the square butterfly, ascending.
std::vector<int64_t> partners(int64_t row, int64_t side, int strides) {
  std::vector<int64_t> columns = {row};
  for (int bit = 0; bit < strides; ++bit)
    if (const int64_t partner = row ^ (int64_t{1} << bit); partner < side) columns.push_back(partner);
  std::sort(columns.begin(), columns.end());
  return columns;
}

// The most strides that fit, -1 when not even the diagonal does.
int most_strides(const SparseWeight& weight, int64_t limit) {
  int strides = -1;
  while ((strides < 0 || int64_t{1} << strides < side_of(weight)) &&
         flat_butterfly(weight, strides + 1).blocks() <= limit)
    ++strides;
  return strides;
}

}  // namespace

Pattern flat_butterfly(const SparseWeight& weight, int strides) {
  const int64_t rows = weight.block_rows(), columns = weight.block_columns(), side = side_of(weight);
  std::vector<int64_t> row_begin = {0};
  std::vector<uint16_t> index;
  for (int64_t r = 0; r < rows; ++r) {
    for (const int64_t partner : partners(r * side / rows, side, strides)) {
      const int64_t first = (partner * columns + side - 1) / side,
                    last = ((partner + 1) * columns + side - 1) / side;
      for (int64_t c = first; c < last; ++c) index.push_back(static_cast<uint16_t>(c));
    }
    row_begin.push_back(static_cast<int64_t>(index.size()));
  }
  return {weight.rows, weight.columns, weight.block, std::move(row_begin), std::move(index)};
}

int64_t most_butterfly_blocks(const SparseWeight& weight, int64_t limit) {
  const int strides = most_strides(weight, limit);
  return strides < 0 ? 0 : flat_butterfly(weight, strides).blocks();
}

Pattern largest_butterfly(const SparseWeight& weight, int64_t limit) {
  const int strides = most_strides(weight, limit);
  expect(strides >= 0, "[butterfly] {}: expected room for the diagonal of {} blocks, got {}", weight.name,
         flat_butterfly(weight, 0).blocks(), limit);
  return flat_butterfly(weight, strides);
}

}  // namespace fern
