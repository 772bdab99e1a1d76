// A matrix that ranks share by rows or by columns (Placement): where the weights of one share lie in the
// whole, which of them exist, and what values they have. One that is not shared is a share of all of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "framework/model/parameters.h"
#include "framework/sparsity/pattern.h"

namespace fern {

// The shares of a parameter of the whole model, by rank, as layers cut it by rows (dimension 0) or columns
// (1). Of a sparse one the weights that each has are not known: `nonzeros` is left at zero.
std::vector<Parameter> shares_of(const Parameter& whole, int dimension, int64_t ranks);

// Where a share's blocks lie in the whole matrix. Positions are row-major in the matrix of blocks, ascending
// in both when they are in one.
class SharePlace {
 public:
  explicit SharePlace(const Parameter& share, BlockShape block = {});
  int64_t in_whole(int64_t row, int64_t column) const {
    return (first_row_ + row) * whole_columns_ + first_column_ + column;
  }
  uint64_t in_whole(uint64_t position) const {
    const auto here = static_cast<int64_t>(position);
    return static_cast<uint64_t>(in_whole(here / columns_, here % columns_));
  }
  // None: another share has it.
  std::optional<uint64_t> in_share(uint64_t whole) const;

 private:
  int64_t first_row_ = 0, first_column_ = 0, rows_, columns_, whole_columns_;  // in blocks
};

// What the share has of a pattern of the whole matrix. Errors (kBadUsage): a block that the cut goes through,
// with those that it would not.
Pattern share_of(const Pattern& whole, const Parameter& share);
// The pattern of the whole matrix, from those of all shares in order.
Pattern joined(std::span<const Pattern> shares, int dimension);

// Calls visit(first value of the share, first value of the whole, count) for the stretches of values, in the
// order of `whole`, that the share has. REQUIRES: the cut goes through no block.
template <typename Visit>
void for_each_stretch(const Pattern& whole, const Parameter& share, const Visit& visit) {
  const Placement& place = share.place;
  if (place.whole == 0) return visit(int64_t{0}, int64_t{0}, whole.nonzeros());
  if (place.dimension == 0) {
    const int64_t begin = whole.values_before(place.begin),
                  end = whole.values_before(place.begin + share.shape[0]);
    return visit(int64_t{0}, begin, end - begin);
  }
  const int64_t elements = whole.block().elements(), first = place.begin / whole.block().columns,
                last = first + share.shape[1] / whole.block().columns;
  int64_t here = 0;
  for (int64_t row = 0; row < whole.block_rows(); ++row) {
    const auto columns = whole.row(row);
    const int64_t begin = std::ranges::lower_bound(columns, first) - columns.begin(),
                  end = std::ranges::lower_bound(columns, last) - columns.begin(),
                  count = (end - begin) * elements;
    visit(here, (whole.row_begin()[static_cast<size_t>(row)] + begin) * elements, count);
    here += count;
  }
}

// Copies a share's values (or what else there is of each) out of those of the whole matrix, in the orders of
// their patterns, or into them. REQUIRES: as many as these have.
template <typename T>
void take_share(std::span<T> share, std::span<const T> whole, const Parameter& parameter,
                const Pattern& pattern) {
  for_each_stretch(pattern, parameter, [&](int64_t here, int64_t there, int64_t count) {
    std::copy_n(whole.begin() + there, count, share.begin() + here);
  });
}
template <typename T>
void put_share(std::span<T> whole, std::span<const T> share, const Parameter& parameter,
               const Pattern& pattern) {
  for_each_stretch(pattern, parameter, [&](int64_t here, int64_t there, int64_t count) {
    std::copy_n(share.begin() + here, count, whole.begin() + there);
  });
}

}  // namespace fern
