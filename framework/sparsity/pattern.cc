#include "framework/sparsity/pattern.h"

#include <fmt/ranges.h>

#include <numeric>

#include "framework/core/divisors.h"
#include "framework/core/error.h"

namespace fern {

void check_blocks(int64_t rows, int64_t columns, BlockShape block) {
  expect(rows >= 0 && columns >= 1 && block.rows >= 1 && block.columns >= 1,
         "[pattern] expected a matrix and blocks of at least 1 x 1, got {} x {} in blocks of {} x {}", rows,
         columns, block.rows, block.columns);
  if (rows % block.rows != 0 || columns % block.columns != 0)
    fail_usage(
        "sparsity.block: blocks of {} x {} do not divide a weight matrix of {} x {}; square blocks of {} do",
        block.rows, block.columns, rows, columns, fmt::join(divisors(std::gcd(rows, columns)), ", "));
  if (columns / block.columns > kMostBlockColumns)
    fail_usage(
        "[pattern] expected a matrix of at most {} columns of blocks, got {}: take larger blocks "
        "(sparsity.block)",
        kMostBlockColumns, columns / block.columns);
}

Pattern::Pattern(int64_t rows, int64_t columns, BlockShape block, std::vector<int64_t> row_begin,
                 std::vector<uint16_t> block_columns)
    : rows_(rows),
      columns_(columns),
      block_(block),
      row_begin_(std::move(row_begin)),
      columns_of_blocks_(std::move(block_columns)) {
  check();
}

void Pattern::check() const {
  check_blocks(rows_, columns_, block_);
  const auto count = static_cast<int64_t>(row_begin_.size()) - 1;
  expect(count == rows_ / block_.rows && row_begin_.front() == 0 && row_begin_.back() == blocks(),
         "[pattern] expected {} rows of blocks that end at {}, got {} that end at {}", rows_ / block_.rows,
         blocks(), count, row_begin_.empty() ? -1 : row_begin_.back());
  for (int64_t r = 0; r < count; ++r) {
    const int64_t begin = row_begin_[static_cast<size_t>(r)], end = row_begin_[static_cast<size_t>(r) + 1];
    expect(begin <= end && end <= blocks(), "[pattern] row {} of blocks: expected it within {}, got {} to {}",
           r, blocks(), begin, end);
    int64_t previous = -1;
    for (const uint16_t column : row(r)) {
      expect(column > previous && column < this->block_columns(),
             "[pattern] row {} of blocks: expected ascending columns below {}, got {} after {}", r,
             this->block_columns(), column, previous);
      previous = column;
    }
  }
}

Pattern Pattern::full(int64_t rows, int64_t columns, BlockShape block) {
  check_blocks(rows, columns, block);
  const int64_t block_rows = rows / block.rows, block_columns = columns / block.columns;
  std::vector<int64_t> row_begin(static_cast<size_t>(block_rows) + 1);
  std::vector<uint16_t> index;
  index.reserve(static_cast<size_t>(block_rows * block_columns));
  for (int64_t r = 0; r < block_rows; ++r) {
    for (int64_t c = 0; c < block_columns; ++c) index.push_back(static_cast<uint16_t>(c));
    row_begin[static_cast<size_t>(r) + 1] = static_cast<int64_t>(index.size());
  }
  return {rows, columns, block, std::move(row_begin), std::move(index)};
}

Pattern Pattern::stacked(std::span<const Pattern> patterns) {
  expect(!patterns.empty(), "[pattern] expected a pattern to stack, got none");
  const Pattern& first = patterns.front();
  int64_t rows = 0;
  std::vector<int64_t> row_begin = {0};
  std::vector<uint16_t> index;
  for (const Pattern& pattern : patterns) {
    expect(pattern.columns_ == first.columns_ && pattern.block_ == first.block_,
           "[pattern] expected patterns of equal columns and blocks to stack, got {} columns after {}",
           pattern.columns_, first.columns_);
    const auto before = static_cast<int64_t>(index.size());
    for (size_t r = 1; r < pattern.row_begin_.size(); ++r)
      row_begin.push_back(before + pattern.row_begin_[r]);
    index.insert(index.end(), pattern.columns_of_blocks_.begin(), pattern.columns_of_blocks_.end());
    rows += pattern.rows_;
  }
  return {rows, first.columns_, first.block_, std::move(row_begin), std::move(index)};
}

Pattern Pattern::slice(int64_t first, int64_t last) const {
  const int64_t begin = values_before(first) / block_.elements(),
                end = values_before(last) / block_.elements();
  std::vector<int64_t> row_begin;
  for (int64_t r = first / block_.rows; r <= last / block_.rows; ++r)
    row_begin.push_back(row_begin_[static_cast<size_t>(r)] - begin);
  const auto index =
      std::span(columns_of_blocks_).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  return {last - first, columns_, block_, std::move(row_begin), {index.begin(), index.end()}};
}

int64_t Pattern::values_before(int64_t row) const {
  expect(row >= 0 && row <= rows_ && row % block_.rows == 0,
         "[pattern] expected a row of {} where a block of {} begins, got {}", rows_, block_.rows, row);
  return row_begin_[static_cast<size_t>(row / block_.rows)] * block_.elements();
}

size_t Pattern::bytes() const {
  return row_begin_.size() * sizeof(int64_t) + columns_of_blocks_.size() * sizeof(uint16_t);
}

}  // namespace fern
