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
  using Base::delta, Base::d_o, Base::dqkv, Base::layout, Base::lse, Base::o, Base::o_index, Base::qkv;
  using Base::row_size, Base::start, Base::tokens;

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
  void differentiate_row(T* p, T* ds, int64_t head, int64_t t, Range visible, Range written) const {
    const T row_lse = lse[head * tokens + t], row_delta = delta[head * tokens + t];
#pragma omp simd
    for (int64_t s = written.begin; s < written.end; ++s) {
      p[s] = fast_exp(p[s] - row_lse);
      ds[s] = p[s] * (ds[s] - row_delta);
    }
    fill_hidden(p, visible, written, T(0));
    fill_hidden(ds, visible, written, T(0));
  }

  // p, ds and dq of a tile of `rows` queries.
  void differentiate_queries(Tiles<T>& tiles, int64_t head, int64_t query, int64_t rows, int64_t key,
                             int64_t keys) const {
    for (int64_t row = 0; row < rows; row += kRowBlock) {
      const int64_t block_rows = std::min(kRowBlock, rows - row), first = query + row;
      const Range seen = visible_keys(start, first, first + block_rows - 1, key, keys),
                  written = widened<T>(seen);
      if (seen.empty()) continue;
      T *p = tiles.p + row * kTileKeys, *ds = tiles.ds + row * kTileKeys;
      const int64_t columns = written.end - written.begin;
      product_of_rows<T, false>({p + written.begin, kTileKeys}, {tiles.q + tiles.row(first), tiles.stride, 1},
                                {tiles.keys_across + written.begin, kTileKeys}, columns, layout.head_size);
      product_of_rows<T, false>({ds + written.begin, kTileKeys},
                                {tiles.d_o + tiles.row(first), tiles.stride, 1},
                                {tiles.values_across + written.begin, kTileKeys}, columns, layout.head_size);
      for (int64_t r = 0; r < block_rows; ++r)
        differentiate_row(p + r * kTileKeys, ds + r * kTileKeys, head, first + r,
                          visible_keys(start, first + r, key, keys), written);
      product_of_rows<T, true>({tiles.dq + tiles.row(first), tiles.stride}, {ds + seen.begin, kTileKeys, 1},
                               {tiles.keys + seen.begin * tiles.stride, tiles.stride}, tiles.stride,
                               seen.end - seen.begin);
    }
  }

  // Adds a tile of queries to the gradients of the keys and values they see.
  void add_to_keys(Tiles<T>& tiles, int64_t query, int64_t rows, int64_t key, int64_t keys) const {
    int64_t end = 0;
    for (int64_t column = 0; column < keys; column += kRowBlock) {
      const int64_t begin = std::max<int64_t>(0, key + column - query);
      while (end < rows && start[query + end] < key + column + kRowBlock) ++end;
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

  // What one head adds to the gradient of one tile of keys and values. Both kinds of tile begin at multiples
  // of 64 from the span's begin.
  void run_keys(Tiles<T>& tiles, int64_t head, int64_t key, Range span) const {
    const int64_t keys = std::min(kTileKeys, span.end - key), head_size = layout.head_size;
    const int64_t kv_head = head / layout.group(), key_row = key * row_size + layout.key(kv_head);
    const int64_t value_row = key * row_size + layout.value(kv_head);
    copy_rows<T, T>({tiles.keys, tiles.stride}, {qkv + key_row, row_size}, keys, head_size);
    copy_rows<T, T>({tiles.values, tiles.stride}, {qkv + value_row, row_size}, keys, head_size);
    transpose<T>({tiles.keys_across, kTileKeys}, {tiles.keys, tiles.stride}, keys, head_size);
    transpose<T>({tiles.values_across, kTileKeys}, {tiles.values, tiles.stride}, keys, head_size);
    if (head % layout.group() == 0) {
      std::fill_n(tiles.dkeys, kTileKeys * tiles.stride, T(0));
      std::fill_n(tiles.dvalues, kTileKeys * tiles.stride, T(0));
    } else {
      copy_rows<T, T>({tiles.dkeys, tiles.stride}, {dqkv + key_row, row_size}, keys, head_size);
      copy_rows<T, T>({tiles.dvalues, tiles.stride}, {dqkv + value_row, row_size}, keys, head_size);
    }
    for (int64_t query = key; query < span.end && start[query] < key + keys; query += Base::kTileQueries) {
      const int64_t rows = std::min(Base::kTileQueries, span.end - query);
      differentiate_queries(tiles, head, query, rows, key, keys);
      add_to_keys(tiles, query, rows, key, keys);
    }
    copy_rows<T, T>({dqkv + key_row, row_size}, {tiles.dkeys, tiles.stride}, keys, head_size);
    copy_rows<T, T>({dqkv + value_row, row_size}, {tiles.dvalues, tiles.stride}, keys, head_size);
  }

  void run_span(int64_t kv_head, Range span) const {
    Tiles<T> tiles(layout.head_size, span);
    for (int64_t head = kv_head * layout.group(); head < (kv_head + 1) * layout.group(); ++head) {
      begin_head(tiles, head, span);
      for (int64_t key = span.begin; key < span.end; key += kTileKeys) run_keys(tiles, head, key, span);
      copy_rows<T, T>({dqkv + span.begin * row_size + layout.query(head), row_size}, {tiles.dq, tiles.stride},
                      span.end - span.begin, layout.head_size, scale());
    }
  }
};

}  // namespace

template <typename T>
void AttentionBackward<T>::run(int64_t kv_head, int64_t token) const {
  const Range documents = span(token);
  if (!documents.empty()) Backward<T>{*this}.run_span(kv_head, documents);
}

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
    const AttentionBackward<T> backward = {
        dqkv_TE.as<T>(), delta_HT.as<Wide<T>>(),         do_TM.as<T>(), o_TM.as<T>(), lse_HT.as<Wide<T>>(),
        qkv_TE.as<T>(),  document_start_T.as<int32_t>(), tokens,        row_size,     layout};
#pragma omp parallel for collapse(2) schedule(dynamic) if (tokens * row_size >= kParallelElements)
    for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head)
      for (int64_t token = 0; token < tokens; token += backward.kSpanTokens) backward.run(kv_head, token);
  });
}

}  // namespace fern
