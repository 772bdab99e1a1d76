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

// Working memory of one head over one span. `across` means transposed.
template <typename T>
struct Tiles {
  static constexpr int64_t kTileQueries = AttentionBackward<T>::kTileQueries;

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
struct Backward : AttentionBackward<T> {
  using Base = AttentionBackward<T>;
  using Base::adds, Base::delta, Base::d_o, Base::dkv, Base::dqkv, Base::kv, Base::layout, Base::lse, Base::o;
  using Base::first_query, Base::o_index, Base::qkv, Base::row_size, Base::seeing_from, Base::tokens;
  using Base::visible;

  T scale() const { return 1 / std::sqrt(static_cast<T>(layout.head_size)); }

  // Brings in the queries and their do, and sets delta, the sum of do * o.
  void begin_head(Tiles<T>& tiles, int64_t head, Range span) const {
    const int64_t rows = span.end - span.begin, head_size = layout.head_size;
    copy_rows<T, T>({tiles.q, tiles.stride}, {qkv + span.begin * row_size + layout.query(head), row_size},
                    rows, head_size, scale());
    copy_rows<T, T>({tiles.d_o, tiles.stride}, {d_o + o_index(span.begin, head), layout.heads * head_size},
                    rows, head_size);
    std::fill_n(tiles.dq, rounded_up(rows, kRowBlock) * tiles.stride, T(0));
    for (int64_t t = span.begin; t < span.end; ++t) {
      const T* d_row = tiles.d_o + tiles.row(t);
      const T* o_row = o + o_index(t, head);
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t k = 0; k < head_size; ++k) sum += d_row[k] * o_row[k];
      delta[head * tokens + t] = sum;
    }
  }

  // One row of scores and of do * v becomes p and ds.
  void differentiate_row(T* p, T* ds, int64_t head, int64_t t, Range seen, Range written) const {
    const T row_lse = lse[head * tokens + t], row_delta = delta[head * tokens + t];
#pragma omp simd
    for (int64_t s = written.begin; s < written.end; ++s) {
      p[s] = fast_exp(p[s] - row_lse);
      ds[s] = p[s] * (ds[s] - row_delta);
    }
    fill_hidden(p, seen, written, T(0));
    fill_hidden(ds, seen, written, T(0));
  }

  // p, ds and dq of a tile of `rows` queries.
  void differentiate_queries(Tiles<T>& tiles, int64_t head, int64_t query, int64_t rows, int64_t key,
                             int64_t keys) const {
    for (int64_t row = 0; row < rows; row += kRowBlock) {
      const int64_t block_rows = std::min(kRowBlock, rows - row), first = query + row;
      const Range seen = visible.of(first, first + block_rows - 1, key, keys),
                  written = widened(seen, kColumnStep<T>);
      T *p = tiles.p + row * kTileKeys, *ds = tiles.ds + row * kTileKeys;
      if (seen.empty()) {
        std::fill_n(p, kRowBlock * kTileKeys, T(0));
        std::fill_n(ds, kRowBlock * kTileKeys, T(0));
        continue;
      }
      const int64_t columns = written.end - written.begin;
      product_of_rows<T, false>({p + written.begin, kTileKeys}, {tiles.q + tiles.row(first), tiles.stride, 1},
                                {tiles.keys_across + written.begin, kTileKeys}, columns, layout.head_size);
      product_of_rows<T, false>({ds + written.begin, kTileKeys},
                                {tiles.d_o + tiles.row(first), tiles.stride, 1},
                                {tiles.values_across + written.begin, kTileKeys}, columns, layout.head_size);
      for (int64_t r = 0; r < block_rows; ++r)
        differentiate_row(p + r * kTileKeys, ds + r * kTileKeys, head, first + r,
                          visible.of(first + r, key, keys), written);
      product_of_rows<T, true>({tiles.dq + tiles.row(first), tiles.stride}, {ds + seen.begin, kTileKeys, 1},
                               {tiles.keys + seen.begin * tiles.stride, tiles.stride}, tiles.stride,
                               seen.end - seen.begin);
    }
  }

  // Adds a tile of queries to the gradients of the keys and values they see.
  void add_to_keys(Tiles<T>& tiles, int64_t query, int64_t rows, int64_t key, int64_t keys) const {
    int64_t begin = 0, end = 0;
    for (int64_t column = 0; column < keys; column += kRowBlock) {
      begin = seeing_from(begin, {query, query + rows}, key + column);
      while (end < rows && visible.first[query + end] < key + column + kRowBlock) ++end;
      if (end <= begin) continue;
      const int64_t first = begin * kTileKeys + column;
      product_of_rows<T, true>(
          {tiles.dvalues + column * tiles.stride, tiles.stride}, {tiles.p + first, 1, kTileKeys},
          {tiles.d_o + tiles.row(query + begin), tiles.stride}, tiles.stride, end - begin);
      product_of_rows<T, true>({tiles.dkeys + column * tiles.stride, tiles.stride},
                               {tiles.ds + first, 1, kTileKeys},
                               {tiles.q + tiles.row(query + begin), tiles.stride}, tiles.stride, end - begin);
    }
  }

  // What one head adds to the gradient of one tile of keys and values. Tiles of keys begin at multiples of 64
  // from the span's begin, and tiles of queries at multiples of kRowBlock.
  void run_keys(Tiles<T>& tiles, int64_t head, int64_t key, const Span& span) const {
    const int64_t keys = std::min(kTileKeys, span.keys.end - key), head_size = layout.head_size;
    const int64_t kv_head = head / layout.group();
    const Block<T> dkey_rows = {dkv.key(key, kv_head), dkv.stride},
                   dvalue_rows = {dkv.value(key, kv_head), dkv.stride};
    copy_rows<T, T>({tiles.keys, tiles.stride}, {kv.key(key, kv_head), kv.stride}, keys, head_size);
    copy_rows<T, T>({tiles.values, tiles.stride}, {kv.value(key, kv_head), kv.stride}, keys, head_size);
    transpose<T>({tiles.keys_across, kTileKeys}, {tiles.keys, tiles.stride}, keys, head_size);
    transpose<T>({tiles.values_across, kTileKeys}, {tiles.values, tiles.stride}, keys, head_size);
    if (head % layout.group() == 0 && !adds) {
      std::fill_n(tiles.dkeys, kTileKeys * tiles.stride, T(0));
      std::fill_n(tiles.dvalues, kTileKeys * tiles.stride, T(0));
    } else {
      copy_rows<T, T>({tiles.dkeys, tiles.stride}, {dkey_rows.data, dkv.stride}, keys, head_size);
      copy_rows<T, T>({tiles.dvalues, tiles.stride}, {dvalue_rows.data, dkv.stride}, keys, head_size);
    }
    for (int64_t query = first_query(span.queries, key);
         query < span.queries.end && visible.first[query] < key + keys; query += Base::kTileQueries) {
      const int64_t rows = std::min(Base::kTileQueries, span.queries.end - query);
      differentiate_queries(tiles, head, query, rows, key, keys);
      add_to_keys(tiles, query, rows, key, keys);
    }
    copy_rows<T, T>(dkey_rows, {tiles.dkeys, tiles.stride}, keys, head_size);
    copy_rows<T, T>(dvalue_rows, {tiles.dvalues, tiles.stride}, keys, head_size);
  }

  void write_queries(const Tiles<T>& tiles, int64_t head, Range queries) const {
    const auto write = adds ? add_rows<T, T> : copy_rows<T, T, T>;
    write({dqkv + queries.begin * row_size + layout.query(head), row_size}, {tiles.dq, tiles.stride},
          queries.end - queries.begin, layout.head_size, scale());
  }

  void run_span(int64_t kv_head, const Span& span) const {
    Tiles<T> tiles(layout.head_size, span.queries);
    for (int64_t head = kv_head * layout.group(); head < (kv_head + 1) * layout.group(); ++head) {
      begin_head(tiles, head, span.queries);
      for (int64_t key = span.keys.begin; key < span.keys.end; key += kTileKeys)
        run_keys(tiles, head, key, span);
      write_queries(tiles, head, span.queries);
    }
  }
};

}  // namespace

template <typename T>
void AttentionBackward<T>::run(int64_t kv_head, int64_t token) const {
  const Span documents = span(token);
  if (!documents.queries.empty()) Backward<T>{*this}.run_span(kv_head, documents);
}

void attention_backward(const AttentionGradients& gradients, const Tensor& do_TM, const Tensor& o_TM,
                        const Tensor& lse_HT, const Tensor& qkv_TE, const SeenKeys& seen, int64_t heads,
                        int64_t kv_heads, Stream& stream) {
  constexpr std::string_view op = "attention_backward";
  const auto& [dqkv_TE, dkv_SR, delta_HT, adds] = gradients;
  expect_on_cpu(
      op, stream,
      {dqkv_TE, dkv_SR, delta_HT, do_TM, o_TM, lse_HT, qkv_TE, seen.kv_SR, seen.first_T, seen.end_T});
  expect_rank(op, "qkv", qkv_TE, 2);
  const int64_t tokens = qkv_TE.dim(0), row_size = qkv_TE.dim(1);
  const HeadLayout layout = head_layout(op, row_size, heads, kv_heads);
  expect_tensor(op, "dqkv", dqkv_TE, qkv_TE.dtype(), {tokens, row_size});
  expect_tensor(op, "delta", delta_HT, wide_of(qkv_TE.dtype()), {heads, tokens});
  expect_tensor(op, "do", do_TM, qkv_TE.dtype(), {tokens, heads * layout.head_size});
  expect_tensor(op, "o", o_TM, qkv_TE.dtype(), {tokens, heads * layout.head_size});
  expect_tensor(op, "lse", lse_HT, wide_of(qkv_TE.dtype()), {heads, tokens});
  expect_key_rows(op, "kv", seen.kv_SR, qkv_TE.dtype(), layout);
  expect_key_rows(op, "dkv", dkv_SR, qkv_TE.dtype(), layout);
  expect_key_ranges(op, seen.first_T, seen.end_T, tokens, seen.kv_SR.dim(0));
  expect(dkv_SR.dim(0) == seen.kv_SR.dim(0), "[{}] dkv: expected {} rows, as kv has, got {}", op,
         seen.kv_SR.dim(0), dkv_SR.dim(0));
  const OpTimer timer(stream, op,
                      attention_work(stream, 5, heads, layout.head_size, seen.first_T, seen.end_T,
                                     {dqkv_TE, do_TM, o_TM, qkv_TE}));
  with_float_type(op, qkv_TE.dtype(), [&]<typename T>() {
    const AttentionBackward<T> backward = {.dqkv = dqkv_TE.as<T>(),
                                           .dkv = key_rows<T>(dkv_SR, layout),
                                           .delta = delta_HT.as<Wide<T>>(),
                                           .d_o = do_TM.as<T>(),
                                           .o = o_TM.as<T>(),
                                           .lse = lse_HT.as<Wide<T>>(),
                                           .qkv = qkv_TE.as<T>(),
                                           .kv = key_rows<const T>(seen.kv_SR, layout),
                                           .visible = {seen.first_T.as<int32_t>(), seen.end_T.as<int32_t>()},
                                           .tokens = tokens,
                                           .row_size = row_size,
                                           .layout = layout,
                                           .adds = adds};
#pragma omp parallel for collapse(2) schedule(dynamic) if (tokens * row_size >= kParallelElements)
    for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head)
      for (int64_t token = 0; token < tokens; token += backward.kSpanTokens) backward.run(kv_head, token);
  });
}

}  // namespace fern
