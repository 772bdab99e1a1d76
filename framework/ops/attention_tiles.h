// What the forward and the backward of attention share: which keys a few queries see, and how heads are
// copied to where a tile is contiguous. (Rows of qkv are a multiple of 4096 bytes apart for common sizes, and
// would fall into the same few lines of the cache.)
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "framework/core/bf16.h"
#include "framework/ops/attention.h"
#include "framework/ops/checks.h"
#include "framework/ops/simd_rows.h"

namespace fern {

// Keys in a tile.
inline constexpr int64_t kTileKeys = 64;

struct Range {
  int64_t begin, end;
  bool empty() const { return end <= begin; }
};

// A block of keys and values, as SeenKeys says. T may be const.
template <typename T>
struct KeyRows {
  T* data;               // where the first row's key heads begin
  int64_t rows, stride;  // S, and values from a row to the next
  HeadLayout layout;
  T* key(int64_t row, int64_t kv_head) const { return data + row * stride + kv_head * layout.head_size; }
  T* value(int64_t row, int64_t kv_head) const { return key(row, layout.kv_heads + kv_head); }
};
template <typename T>
KeyRows<T> key_rows(const Tensor& kv_SR, const HeadLayout& layout) {
  const int64_t size = 2 * layout.kv_heads * layout.head_size, stride = kv_SR.dim(1);
  return {kv_SR.as<std::remove_const_t<T>>() + stride - size, kv_SR.dim(0), stride, layout};
}
// Errors: the tensor is not of that dtype, or its rows are too short.
inline void expect_key_rows(std::string_view op, std::string_view name, const Tensor& kv_SR, DType dtype,
                            const HeadLayout& layout) {
  expect_rank(op, name, kv_SR, 2);
  expect_tensor(op, name, kv_SR, dtype, kv_SR.shape());
  const int64_t size = 2 * layout.kv_heads * layout.head_size;
  expect(kv_SR.dim(1) >= size, "[{}] {}: expected rows of {} values or more, got {}", op, name, size,
         kv_SR.dim(1));
}

// Which rows of the block each query sees.
struct Visible {
  const int32_t *first, *end;

  // Those of query `t` in the tile of `keys` from `key`, counted from the tile's first.
  Range of(int64_t t, int64_t key, int64_t keys) const {
    return {std::max<int64_t>(first[t], key) - key, std::min<int64_t>(end[t], key + keys) - key};
  }
  // Those that any of the queries `from`..`to` sees.
  Range of(int64_t from, int64_t to, int64_t key, int64_t keys) const {
    return {of(from, key, keys).begin, of(to, key, keys).end};
  }
};

// Widened to what a kernel computes that goes in such steps.
inline Range widened(Range range, int64_t step) {
  return {rounded_down(range.begin, step), rounded_up(range.end, step)};
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
  KeyRows<const T> kv;
  Visible visible;
  int64_t tokens, row_size;
  HeadLayout layout;

  void run(int64_t head, int64_t query) const;
  // What a row's sum is multiplied with.
  static Wide<T> inverse(Wide<T> sum) { return sum == 0 ? 0 : 1 / sum; }
};

// Queries that see none of the keys that others see, and these keys, with those that nobody sees.
struct Span {
  Range queries, keys;
};

// One attention_backward(). A task is a key head and the documents that begin within so many tokens: nothing
// it writes is another's, so every sum has one order.
template <typename T>
struct AttentionBackward {
  static constexpr int64_t kTileQueries = 64, kSpanTokens = 256;

  T* dqkv;
  KeyRows<T> dkv;
  Wide<T>* delta;
  const T *d_o, *o;
  const Wide<T>* lse;
  const T* qkv;
  KeyRows<const T> kv;
  Visible visible;
  int64_t tokens, row_size;
  HeadLayout layout;
  bool adds;

  // The documents that begin at `token` or in the kSpanTokens from there.
  Span span(int64_t token) const {
    const int64_t begin = document_at_or_after(token), end = document_at_or_after(token + kSpanTokens);
    return {{begin, end}, {keys_before(begin), keys_before(end)}};
  }
  int64_t document_at_or_after(int64_t t) const {
    while (0 < t && t < tokens && visible.first[t] < visible.end[t - 1]) ++t;
    return std::min(t, tokens);
  }
  // Keys of the documents before that of `query`, which begins one.
  int64_t keys_before(int64_t query) const {
    if (query == 0) return 0;
    return query < tokens ? visible.first[query] : kv.rows;
  }
  // Where the tiles of queries begin that see keys from `key`: blocks of rows stay whole.
  int64_t first_query(const Range& queries, int64_t key, int64_t block = kRowBlock) const {
    const int32_t* end = std::upper_bound(visible.end + queries.begin, visible.end + queries.end, key);
    return queries.begin + rounded_down(end - visible.end - queries.begin, block);
  }
  // From which block of rows on a tile of queries sees `key` or one after it; none before `row` does.
  int64_t seeing_from(int64_t row, const Range& queries, int64_t key, int64_t block = kRowBlock) const {
    const auto last = [&] { return std::min(queries.begin + row + block, queries.end) - 1; };
    while (queries.begin + row < queries.end && visible.end[last()] <= key) row += block;
    return row;
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

// Adds rows of a tile, times `scale`, to memory.
template <typename To, typename From>
void add_rows(Block<To> out, Block<const From> in, int64_t rows, int64_t columns, Wide<To> scale = 1) {
  for (int64_t row = 0; row < rows; ++row) {
    To* sum = out.data + row * out.stride;
    const From* term = in.data + row * in.stride;
    for_vectors<Wide<To>>(columns, [=](auto at) { at.write(sum, at.read(sum) + scale * at.read(term)); });
  }
}

// Copies rows between memory and a tile, times `scale`, widening or narrowing on the way.
template <typename To, typename From, typename Scale = Wide<To>>
void copy_rows(Block<To> out, Block<const From> in, int64_t rows, int64_t columns, Scale scale = 1) {
  for (int64_t row = 0; row < rows; ++row) {
    To* to = out.data + row * out.stride;
    const From* from = in.data + row * in.stride;
    for_vectors<Wide<To>>(columns, [=](auto at) { at.write(to, scale * at.read(from)); });
  }
}

}  // namespace fern
