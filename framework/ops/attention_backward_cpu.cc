#include <algorithm>
#include <cmath>

#include "framework/ops/attention.h"
#include "framework/ops/attention_tiles.h"
#include "framework/ops/checks.h"
#include "framework/ops/exp.h"
#include "framework/ops/scratch.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

constexpr int64_t kTileQueries = 64;
// A task is a key head and the documents that begin within so many tokens: nothing it writes is another's, so
// every sum has one order.
constexpr int64_t kSpanTokens = 256;

// Working memory of one head over one span, in the type that is computed in. `across` means transposed.
template <typename T>
struct Tiles {
  Tiles(int64_t head_size, Range span) : stride(rounded_up(head_size, kColumnStep<T>)), begin(span.begin) {
    const int64_t tall = kTileKeys * stride, across = head_size * kTileKeys,
                  square = kTileQueries * kTileKeys;
    const int64_t whole = rounded_up(span.end - span.begin, kRowBlock) * stride;
    T* next = thread_scratch<T>(3 * whole + 4 * tall + 2 * across + 2 * square);
    for (T** block : {&q, &d_o, &dq}) *block = next, next += whole;
    for (T** block : {&keys, &values, &dkeys, &dvalues}) *block = next, next += tall;
    for (T** block : {&keys_across, &values_across}) *block = next, next += across;
    for (T** block : {&p, &ds}) *block = next, next += square;
  }
  // Where token t's row of q, d_o and dq begins.
  int64_t row(int64_t t) const { return (t - begin) * stride; }

  int64_t stride, begin;
  T *q, *d_o, *dq;                     // [span, stride]; q is scaled, dq not yet
  T *keys, *values, *dkeys, *dvalues;  // [kTileKeys, stride]
  T *keys_across, *values_across;      // [head_size, kTileKeys]
  T *p, *ds;                           // [kTileQueries, kTileKeys]
};

template <typename T>
struct Backward {
  using W = Wide<T>;
  T* dqkv;
  W* delta;
  const T *d_o, *o;
  const W* lse;
  const T* qkv;
  const int32_t* start;
  int64_t tokens, row_size;
  HeadLayout layout;

  W scale() const { return 1 / std::sqrt(static_cast<W>(layout.head_size)); }
  int64_t o_index(int64_t t, int64_t head) const { return (t * layout.heads + head) * layout.head_size; }

  // The first document that begins at `t` or later.
  int64_t document_at_or_after(int64_t t) const {
    while (t < tokens && start[t] != t) ++t;
    return std::min(t, tokens);
  }

  // Brings in the queries and their do, and sets delta, the sum of do * o.
  void begin_head(Tiles<W>& tiles, int64_t head, Range span) const {
    const int64_t rows = span.end - span.begin, head_size = layout.head_size;
    copy_rows<W, T>({tiles.q, tiles.stride}, {qkv + span.begin * row_size + layout.query(head), row_size},
                    rows, head_size, scale());
    copy_rows<W, T>({tiles.d_o, tiles.stride}, {d_o + o_index(span.begin, head), layout.heads * head_size},
                    rows, head_size);
    std::fill_n(tiles.dq, rounded_up(rows, kRowBlock) * tiles.stride, W(0));
    for (int64_t t = span.begin; t < span.end; ++t) {
      const W* d_row = tiles.d_o + tiles.row(t);
      const T* o_row = o + o_index(t, head);
      W sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t k = 0; k < head_size; ++k) sum += d_row[k] * widen(o_row[k]);
      delta[head * tokens + t] = sum;
    }
  }

  // One row of scores and of do * v becomes p and ds.
  void differentiate_row(W* p, W* ds, int64_t head, int64_t t, Range visible, Range written) const {
    const W row_lse = lse[head * tokens + t], row_delta = delta[head * tokens + t];
#pragma omp simd
    for (int64_t s = written.begin; s < written.end; ++s) {
      p[s] = fast_exp(p[s] - row_lse);
      ds[s] = p[s] * (ds[s] - row_delta);
    }
    fill_hidden(p, visible, written, W(0));
    fill_hidden(ds, visible, written, W(0));
  }

  // p, ds and dq of a tile of `rows` queries.
  void differentiate_queries(Tiles<W>& tiles, int64_t head, int64_t query, int64_t rows, int64_t key,
                             int64_t keys) const {
    for (int64_t row = 0; row < rows; row += kRowBlock) {
      const int64_t block_rows = std::min(kRowBlock, rows - row), first = query + row;
      const Range seen = visible_keys(start, first, first + block_rows - 1, key, keys),
                  written = widened<W>(seen);
      if (seen.empty()) continue;
      W *p = tiles.p + row * kTileKeys, *ds = tiles.ds + row * kTileKeys;
      const int64_t columns = written.end - written.begin;
      product_of_rows<W, false>({p + written.begin, kTileKeys}, {tiles.q + tiles.row(first), tiles.stride, 1},
                                {tiles.keys_across + written.begin, kTileKeys}, columns, layout.head_size);
      product_of_rows<W, false>({ds + written.begin, kTileKeys},
                                {tiles.d_o + tiles.row(first), tiles.stride, 1},
                                {tiles.values_across + written.begin, kTileKeys}, columns, layout.head_size);
      for (int64_t r = 0; r < block_rows; ++r)
        differentiate_row(p + r * kTileKeys, ds + r * kTileKeys, head, first + r,
                          visible_keys(start, first + r, key, keys), written);
      product_of_rows<W, true>({tiles.dq + tiles.row(first), tiles.stride}, {ds + seen.begin, kTileKeys, 1},
                               {tiles.keys + seen.begin * tiles.stride, tiles.stride}, tiles.stride,
                               seen.end - seen.begin);
    }
  }

  // Adds a tile of queries to the gradients of the keys and values they see.
  void add_to_keys(Tiles<W>& tiles, int64_t query, int64_t rows, int64_t key, int64_t keys) const {
    int64_t end = 0;
    for (int64_t column = 0; column < keys; column += kRowBlock) {
      const int64_t begin = std::max<int64_t>(0, key + column - query);
      while (end < rows && start[query + end] < key + column + kRowBlock) ++end;
      if (end <= begin) continue;
      const int64_t first = begin * kTileKeys + column;
      product_of_rows<W, true>(
          {tiles.dvalues + column * tiles.stride, tiles.stride}, {tiles.p + first, 1, kTileKeys},
          {tiles.d_o + tiles.row(query + begin), tiles.stride}, tiles.stride, end - begin);
      product_of_rows<W, true>({tiles.dkeys + column * tiles.stride, tiles.stride},
                               {tiles.ds + first, 1, kTileKeys},
                               {tiles.q + tiles.row(query + begin), tiles.stride}, tiles.stride, end - begin);
    }
  }

  // What one head adds to the gradient of one tile of keys and values. Both kinds of tile begin at multiples
  // of 64 from the span's begin.
  void run_keys(Tiles<W>& tiles, int64_t head, int64_t key, Range span) const {
    const int64_t keys = std::min(kTileKeys, span.end - key), head_size = layout.head_size;
    const int64_t kv_head = head / layout.group(), key_row = key * row_size + layout.key(kv_head);
    const int64_t value_row = key * row_size + layout.value(kv_head);
    copy_rows<W, T>({tiles.keys, tiles.stride}, {qkv + key_row, row_size}, keys, head_size);
    copy_rows<W, T>({tiles.values, tiles.stride}, {qkv + value_row, row_size}, keys, head_size);
    transpose<W>({tiles.keys_across, kTileKeys}, {tiles.keys, tiles.stride}, keys, head_size);
    transpose<W>({tiles.values_across, kTileKeys}, {tiles.values, tiles.stride}, keys, head_size);
    if (head % layout.group() == 0) {
      std::fill_n(tiles.dkeys, kTileKeys * tiles.stride, W(0));
      std::fill_n(tiles.dvalues, kTileKeys * tiles.stride, W(0));
    } else {
      copy_rows<W, T>({tiles.dkeys, tiles.stride}, {dqkv + key_row, row_size}, keys, head_size);
      copy_rows<W, T>({tiles.dvalues, tiles.stride}, {dqkv + value_row, row_size}, keys, head_size);
    }
    for (int64_t query = key; query < span.end && start[query] < key + keys; query += kTileQueries) {
      const int64_t rows = std::min(kTileQueries, span.end - query);
      differentiate_queries(tiles, head, query, rows, key, keys);
      add_to_keys(tiles, query, rows, key, keys);
    }
    copy_rows<T, W>({dqkv + key_row, row_size}, {tiles.dkeys, tiles.stride}, keys, head_size);
    copy_rows<T, W>({dqkv + value_row, row_size}, {tiles.dvalues, tiles.stride}, keys, head_size);
  }

  void run(int64_t kv_head, int64_t token) const {
    const Range span = {document_at_or_after(token), document_at_or_after(token + kSpanTokens)};
    if (span.empty()) return;
    Tiles<W> tiles(layout.head_size, span);
    for (int64_t head = kv_head * layout.group(); head < (kv_head + 1) * layout.group(); ++head) {
      begin_head(tiles, head, span);
      for (int64_t key = span.begin; key < span.end; key += kTileKeys) run_keys(tiles, head, key, span);
      copy_rows<T, W>({dqkv + span.begin * row_size + layout.query(head), row_size}, {tiles.dq, tiles.stride},
                      span.end - span.begin, layout.head_size, scale());
    }
  }
};

}  // namespace

void attention_backward(Tensor dqkv_TE, Tensor delta_HT, const Tensor& do_TM, const Tensor& o_TM,
                        const Tensor& lse_HT, const Tensor& qkv_TE, const Tensor& document_start_T,
                        int64_t heads, int64_t kv_heads, Stream& stream) {
  constexpr std::string_view op = "attention_backward";
  expect_on_cpu(op, stream, {dqkv_TE, delta_HT, do_TM, o_TM, lse_HT, qkv_TE, document_start_T});
  expect_rank(op, "qkv", qkv_TE, 2);
  const int64_t tokens = qkv_TE.dim(0), row_size = qkv_TE.dim(1);
  const HeadLayout layout = head_layout(op, row_size, heads, kv_heads);
  expect_tensor(op, "dqkv", dqkv_TE, qkv_TE.dtype(), {tokens, row_size});
  expect_tensor(op, "delta", delta_HT, wide_of(qkv_TE.dtype()), {heads, tokens});
  expect_tensor(op, "do", do_TM, qkv_TE.dtype(), {tokens, heads * layout.head_size});
  expect_tensor(op, "o", o_TM, qkv_TE.dtype(), {tokens, heads * layout.head_size});
  expect_tensor(op, "lse", lse_HT, wide_of(qkv_TE.dtype()), {heads, tokens});
  expect_document_starts(op, document_start_T, tokens);
  const OpTimer timer(
      stream, op,
      attention_work(stream, 5, heads, layout.head_size, document_start_T, {dqkv_TE, do_TM, o_TM, qkv_TE}));
  with_float_type(op, qkv_TE.dtype(), [&]<typename T>() {
    const Backward<T> backward = {
        dqkv_TE.as<T>(), delta_HT.as<Wide<T>>(),         do_TM.as<T>(), o_TM.as<T>(), lse_HT.as<Wide<T>>(),
        qkv_TE.as<T>(),  document_start_T.as<int32_t>(), tokens,        row_size,     layout};
#pragma omp parallel for collapse(2) schedule(dynamic) if (tokens * row_size >= kParallelElements)
    for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head)
      for (int64_t token = 0; token < tokens; token += kSpanTokens) backward.run(kv_head, token);
  });
}

}  // namespace fern
