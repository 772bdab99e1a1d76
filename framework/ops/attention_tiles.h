// What the forward and the backward of attention share: which keys a few queries see, and how heads are
// copied to where a tile is contiguous. (Rows of qkv are a multiple of 4096 bytes apart for common sizes, and
// would fall into the same few lines of the cache.)
#pragma once

#include <algorithm>
#include <cstdint>

#include "framework/core/bf16.h"
#include "framework/ops/checks.h"
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

// One attention_forward(). A task is a tile of queries of one head.
template <typename T>
struct AttentionForward {
  // Queries in a tile: many, so that copying and transposing a tile of keys is paid for by more of them.
  static constexpr int64_t kTileQueries = 256;

  T* o;
  Wide<T>* lse;
  const T* qkv;
  const int32_t* start;
  int64_t tokens, row_size;
  HeadLayout layout;

  void run(int64_t head, int64_t query) const;
};

// One attention_backward(). A task is a key head and the documents that begin within so many tokens: nothing
// it writes is another's, so every sum has one order.
template <typename T>
struct AttentionBackward {
  static constexpr int64_t kTileQueries = 64, kSpanTokens = 256;

  T* dqkv;
  Wide<T>* delta;
  const T *d_o, *o;
  const Wide<T>* lse;
  const T* qkv;
  const int32_t* start;
  int64_t tokens, row_size;
  HeadLayout layout;

  // The documents that begin at `token` or in the kSpanTokens from there.
  Range span(int64_t token) const {
    return {document_at_or_after(token), document_at_or_after(token + kSpanTokens)};
  }
  int64_t document_at_or_after(int64_t t) const {
    while (t < tokens && start[t] != t) ++t;
    return std::min(t, tokens);
  }
  // Where the row of token t and `head` begins in o and d_o.
  int64_t o_index(int64_t t, int64_t head) const { return (t * layout.heads + head) * layout.head_size; }
  void run(int64_t kv_head, int64_t token) const;
};

// Two terms of a product at a time: attention_bf16_cpu.cc, attention_backward_bf16_cpu.cc.
template <>
void AttentionForward<BF16>::run(int64_t head, int64_t query) const;
template <>
void AttentionBackward<BF16>::run(int64_t kv_head, int64_t token) const;

// Copies rows between memory and a tile, times `scale`, widening or narrowing on the way.
template <typename To, typename From, typename Scale = Wide<To>>
void copy_rows(Block<To> out, Block<const From> in, int64_t rows, int64_t columns, Scale scale = 1) {
  for (int64_t row = 0; row < rows; ++row)
#pragma omp simd
    for (int64_t column = 0; column < columns; ++column)
      out.data[row * out.stride + column] = narrow<To>(scale * widen(in.data[row * in.stride + column]));
}

}  // namespace fern
