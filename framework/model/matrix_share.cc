#include "framework/model/matrix_share.h"

#include <fmt/ranges.h>

#include <numeric>

#include "framework/core/divisors.h"
#include "framework/core/error.h"
#include "framework/layers/tensor_axis.h"

namespace fern {

namespace {

void expect_whole_blocks(const Parameter& share, BlockShape block) {
  const Placement& place = share.place;
  const int64_t side = place.dimension == 0 ? block.rows : block.columns, size = share.shape[place.dimension];
  if (place.begin % side != 0 || size % side != 0)
    fail_usage(
        "sparsity.block: a rank holds {} {} to {} of {}, which cuts blocks of {} x {}; square blocks of {} "
        "are not cut",
        place.dimension == 0 ? "rows" : "columns", place.begin, place.begin + size - 1, share.name,
        block.rows, block.columns,
        fmt::join(divisors(std::gcd(place.whole, std::gcd(place.begin, size))), ", "));
}

}  // namespace

std::vector<Parameter> shares_of(const Parameter& whole, int dimension, int64_t ranks) {
  std::vector<Parameter> shares;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    Parameter& share = shares.emplace_back(whole);
    const int64_t size = whole.shape[dimension];
    const Slice own = LoneAxis(ranks, rank).own(size);
    share.place = {.dimension = dimension, .begin = own.begin, .whole = size};
    share.shape = dimension == 0 ? Shape{own.elements(), whole.shape.elements() / size}
                                 : Shape{whole.shape[0], own.elements()};
    share.nonzeros = whole.sparse ? 0 : share.shape.elements();
  }
  return shares;
}

SharePlace::SharePlace(const Parameter& share, BlockShape block)
    : rows_(share.shape[0] / block.rows),
      columns_(share.shape[1] / block.columns),
      whole_columns_(share.whole_shape()[1] / block.columns) {
  if (share.place.dimension == 0)
    first_row_ = share.place.begin / block.rows;
  else
    first_column_ = share.place.begin / block.columns;
}

std::optional<uint64_t> SharePlace::in_share(uint64_t whole) const {
  const auto there = static_cast<int64_t>(whole);
  const int64_t row = there / whole_columns_ - first_row_, column = there % whole_columns_ - first_column_;
  if (row < 0 || row >= rows_ || column < 0 || column >= columns_) return std::nullopt;
  return static_cast<uint64_t>(row * columns_ + column);
}

Pattern share_of(const Pattern& whole, const Parameter& share) {
  const Placement& place = share.place;
  if (place.whole == 0) return whole;
  const BlockShape block = whole.block();
  expect_whole_blocks(share, block);
  if (place.dimension == 0) return whole.slice(place.begin, place.begin + share.shape[0]);
  const int64_t first = place.begin / block.columns;
  std::vector<int64_t> row_begin = {0};
  std::vector<uint16_t> index;
  for_each_stretch(whole, share, [&](int64_t, int64_t there, int64_t count) {
    for (int64_t i = there; i < there + count; i += block.elements())
      index.push_back(
          static_cast<uint16_t>(whole.column_index()[static_cast<size_t>(i / block.elements())] - first));
    row_begin.push_back(std::ssize(index));
  });
  return {share.shape[0], share.shape[1], block, std::move(row_begin), std::move(index)};
}

Pattern joined(std::span<const Pattern> shares, int dimension) {
  if (dimension == 0) return Pattern::stacked(shares);
  const Pattern& first = shares.front();
  int64_t columns = 0;
  for (const Pattern& share : shares) columns += share.columns();
  std::vector<int64_t> row_begin = {0};
  std::vector<uint16_t> index;
  for (int64_t row = 0; row < first.block_rows(); ++row) {
    int64_t before = 0;
    for (const Pattern& share : shares) {
      for (const uint16_t column : share.row(row)) index.push_back(static_cast<uint16_t>(before + column));
      before += share.block_columns();
    }
    row_begin.push_back(std::ssize(index));
  }
  return {first.rows(), columns, first.block(), std::move(row_begin), std::move(index)};
}

}  // namespace fern
