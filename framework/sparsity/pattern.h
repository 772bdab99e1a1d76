// Which weights of a matrix exist: a blocked CSR. Unstructured is blocks of 1 x 1; constant fan-in and N:M
// are 1 x 1 with a rule that whoever changes the pattern keeps.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fern {

struct BlockShape {
  int64_t rows = 1, columns = 1;
  int64_t elements() const { return rows * columns; }
  bool operator==(const BlockShape&) const = default;
};

// Columns of blocks are numbered in 16 bits: an unstructured matrix has at most this many columns.
inline constexpr int64_t kMostBlockColumns = int64_t{1} << 16;

// Errors (kBadUsage): a block that does not divide the matrix, with those that would; more columns than
// kMostBlockColumns.
void check_blocks(int64_t rows, int64_t columns, BlockShape block);

// A weight with a pattern is one flat buffer of nonzeros() values: block after block in the order of
// columns(), each block row-major.
class Pattern {
 public:
  Pattern() = default;  // of a matrix without rows
  // Blocks of row r of blocks are columns[row_begin[r]] to columns[row_begin[r + 1]], each row ascending.
  // Errors: those of check_blocks(). (kFailed): row_begin or columns are not such a structure, naming the
  // row.
  Pattern(int64_t rows, int64_t columns, BlockShape block, std::vector<int64_t> row_begin,
          std::vector<uint16_t> block_columns);
  // Every block exists.
  static Pattern full(int64_t rows, int64_t columns, BlockShape block = {});
  // One matrix of all rows, one pattern after the other. REQUIRES: equal columns and blocks; at least one.
  static Pattern stacked(std::span<const Pattern> patterns);

  int64_t rows() const { return rows_; }  // of the matrix, in weights
  int64_t columns() const { return columns_; }
  BlockShape block() const { return block_; }
  int64_t block_rows() const { return static_cast<int64_t>(row_begin_.size()) - 1; }
  int64_t block_columns() const { return columns_ / block_.columns; }
  int64_t blocks() const { return static_cast<int64_t>(columns_of_blocks_.size()); }
  int64_t nonzeros() const { return blocks() * block_.elements(); }
  double density() const { return static_cast<double>(nonzeros()) / static_cast<double>(rows_ * columns_); }

  std::span<const int64_t> row_begin() const { return row_begin_; }              // block_rows() + 1
  std::span<const uint16_t> column_index() const { return columns_of_blocks_; }  // in blocks
  std::span<const uint16_t> row(int64_t block_row) const {
    const auto begin = static_cast<size_t>(row_begin_[static_cast<size_t>(block_row)]);
    const auto end = static_cast<size_t>(row_begin_[static_cast<size_t>(block_row) + 1]);
    return std::span(columns_of_blocks_).subspan(begin, end - begin);
  }
  // Rows of weights [first, last) as a pattern of their own. REQUIRES: whole blocks.
  Pattern slice(int64_t first, int64_t last) const;
  // Values before the first of row `row` of weights. REQUIRES: a block begins there (or it is rows()).
  int64_t values_before(int64_t row) const;

  size_t bytes() const;  // of the structure itself
  bool operator==(const Pattern&) const = default;

 private:
  void check() const;

  int64_t rows_ = 0, columns_ = 0;
  BlockShape block_;
  std::vector<int64_t> row_begin_ = {0};
  std::vector<uint16_t> columns_of_blocks_;
};

}  // namespace fern
