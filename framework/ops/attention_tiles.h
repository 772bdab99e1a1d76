// What the forward and the backward of attention share: which keys a few queries see, and how heads are
// copied to where a tile is contiguous. (Rows of qkv are a multiple of 4096 bytes apart for common sizes, and
// would fall into the same few lines of the cache.)
#pragma once

#include <algorithm>
#include <cstdint>

#include "framework/core/bf16.h"
#include "framework/ops/simd.h"

namespace fern {

// Keys in a tile.
inline constexpr int64_t kTileKeys = 64;

struct Range {
  int64_t begin, end;
  bool empty() const { return end <= begin; }
};

// Keys that query `t` sees in the tile of `keys` from `key`, counted from the tile's first.
inline Range visible_keys(const int32_t* start, int64_t t, int64_t key, int64_t keys) {
  return {std::max<int64_t>(start[t], key) - key, std::min(t + 1, key + keys) - key};
}

// The keys that any of the queries `first`..`last` sees.
inline Range visible_keys(const int32_t* start, int64_t first, int64_t last, int64_t key, int64_t keys) {
  return {visible_keys(start, first, key, keys).begin, visible_keys(start, last, key, keys).end};
}

// Widened to the columns that the kernel computes.
template <typename T>
Range widened(Range range) {
  return {rounded_down(range.begin, kColumnStep<T>), rounded_up(range.end, kColumnStep<T>)};
}

// Sets the columns of `written` that are not `visible`.
template <typename T>
void fill_hidden(T* row, Range visible, Range written, T value) {
  if (visible.begin == written.begin && visible.end == written.end) return;
  if (visible.empty()) visible = {written.begin, written.begin};
  std::fill(row + written.begin, row + visible.begin, value);
  std::fill(row + visible.end, row + written.end, value);
}

// Copies rows between memory and a tile, times `scale`, widening or narrowing on the way.
template <typename To, typename From, typename Scale = Wide<To>>
void copy_rows(Block<To> out, Block<const From> in, int64_t rows, int64_t columns, Scale scale = 1) {
  for (int64_t row = 0; row < rows; ++row)
#pragma omp simd
    for (int64_t column = 0; column < columns; ++column)
      out.data[row * out.stride + column] = narrow<To>(scale * widen(in.data[row * in.stride + column]));
}

}  // namespace fern
