// Attention's backward on bf16 activations: products of bf16 with f32 sums.
#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/ops/attention_bf16.h"
#include "framework/ops/scratch.h"
#include "framework/ops/simd_exp.h"

namespace fern {

namespace {

constexpr int64_t kTileQueries = AttentionBackward<BF16>::kTileQueries;

// Working memory of one head over one span. `across` means transposed, `paired` that rows 2i and 2i + 1 lie
// in the pairs of row i.
struct Tiles {
  Tiles(int64_t head_size, Range span, const ProductSteps& steps)
      : stride(rounded_up(head_size, steps.columns)), pair_stride(stride / 2), begin(span.begin) {
    const int64_t whole = rounded_up(span.end - span.begin, steps.rows), tile = kTileKeys * pair_stride,
                  square = kTileQueries / 2 * kTileKeys;
    BF16Pair* pairs = thread_scratch<BF16Pair>(4 * whole * pair_stride + 4 * tile + 2 * square +
                                               steps.rows * kTileKeys / 2);
    for (BF16Pair** block : {&q, &d_o, &q_paired, &d_o_paired}) *block = pairs, pairs += whole * pair_stride;
    for (BF16Pair** block : {&rows_of_tile, &keys_paired, &keys_across, &values_across})
      *block = pairs, pairs += tile;
    for (BF16Pair** block : {&p_paired, &ds_paired}) *block = pairs, pairs += square;
    ds = pairs;
    dq = thread_scratch<float>((whole + 2 * kTileKeys) * stride + 2 * steps.rows * kTileKeys);
    dkeys = dq + whole * stride;
    dvalues = dkeys + kTileKeys * stride;
    score = dvalues + kTileKeys * stride;
    dp = score + steps.rows * kTileKeys;
  }
  BF16Pair* rows_from(BF16Pair* block, int64_t t) const { return block + (t - begin) * pair_stride; }

  int64_t stride, pair_stride, begin;
  BF16Pair *q, *d_o;                      // [span, pair_stride]
  BF16Pair *q_paired, *d_o_paired;        // [span / 2, stride]
  BF16Pair* rows_of_tile;                 // [kTileKeys, pair_stride], as they lie in memory
  BF16Pair* keys_paired;                  // [kTileKeys / 2, stride]
  BF16Pair *keys_across, *values_across;  // [pair_stride, kTileKeys]
  BF16Pair *p_paired, *ds_paired;         // [kTileQueries / 2, kTileKeys]
  BF16Pair* ds;                           // [steps.rows, kTileKeys / 2]
  float *dq, *dkeys, *dvalues;            // [span or kTileKeys, stride]; dq and dkeys not yet scaled
  float *score, *dp;                      // [steps.rows, kTileKeys]; score not scaled
};

// Two rows of scores and of do * v in a block.
struct TwoRows {
  const float *score, *dp;          // [2, kTileKeys], hidden keys at -infinity and 0
  float scale, shift[2], delta[2];  // p is 2^(scale score - shift)
};

// They become p and ds: at `pair` of the tile of queries, and ds from `row` of the block too.
void differentiate_rows(const Tiles& tiles, const TwoRows& rows, int64_t row, int64_t pair, Range written) {
  constexpr int64_t kStep = kLanes<float>;
  for (int64_t s = written.begin; s < written.end; s += 2 * kStep) {
    HalfVector p_row[2], ds_row[2];
#pragma GCC unroll 2
    for (int64_t i = 0; i < 2; ++i) {
      const float *score = rows.score + i * kTileKeys + s, *dp = rows.dp + i * kTileKeys + s;
      const Vector<float> p_first = exp2(load(score) * rows.scale - rows.shift[i]),
                          p_second = exp2(load(score + kStep) * rows.scale - rows.shift[i]);
      p_row[i] = rounded_row(p_first, p_second);
      ds_row[i] =
          rounded_row(p_first * (load(dp) - rows.delta[i]), p_second * (load(dp + kStep) - rows.delta[i]));
      store(tiles.ds + ((row + i) * kTileKeys + s) / 2, std::bit_cast<Vector<BF16Pair>>(ds_row[i]));
    }
    const PairVectors p = paired_rows(p_row[0], p_row[1]), ds = paired_rows(ds_row[0], ds_row[1]);
    const int64_t at = pair * kTileKeys + s;
    store(tiles.p_paired + at, p.low);
    store(tiles.p_paired + at + kStep, p.high);
    store(tiles.ds_paired + at, ds.low);
    store(tiles.ds_paired + at + kStep, ds.high);
  }
}

template <typename Products>
struct Backward : AttentionBackward<BF16> {
  static constexpr ProductSteps kSteps = Products::kSteps;

  float scale() const { return 1 / std::sqrt(static_cast<float>(layout.head_size)); }

  // Brings in the queries and their do, and sets delta, the sum of do * o.
  void begin_head(const Tiles& tiles, int64_t head, Range span) const {
    const int64_t rows = span.end - span.begin, whole = rounded_up(rows, kSteps.rows);
    const int64_t head_size = layout.head_size, stride = tiles.pair_stride;
    copy_to_pairs({tiles.q, stride}, {qkv + span.begin * row_size + layout.query(head), row_size}, rows,
                  whole, head_size);
    copy_to_pairs({tiles.d_o, stride}, {d_o + o_index(span.begin, head), layout.heads * head_size}, rows,
                  whole, head_size);
    pair_up_rows({tiles.q_paired, tiles.stride}, {tiles.q, stride}, whole);
    pair_up_rows({tiles.d_o_paired, tiles.stride}, {tiles.d_o, stride}, whole);
    std::fill_n(tiles.dq, whole * tiles.stride, 0.0F);
    for (int64_t t = span.begin; t < span.end; t += kTileKeys)
      set_delta(tiles, head, t, std::min(kTileKeys, span.end - t));
  }

  void set_delta(const Tiles& tiles, int64_t head, int64_t token, int64_t rows) const {
    const int64_t stride = tiles.pair_stride;
    const BF16Pair *d_row = tiles.rows_from(tiles.d_o, token), *o_row = tiles.rows_of_tile;
    copy_to_pairs({tiles.rows_of_tile, stride}, {o + o_index(token, head), layout.heads * layout.head_size},
                  rows, rows, layout.head_size);
    for (int64_t t = token; t < token + rows; ++t, d_row += stride, o_row += stride) {
      Vector<float> sum = {};
      for (int64_t k = 0; k < stride; k += kLanes<BF16Pair>)
        sum = multiply_add(sum, load(d_row + k), load(o_row + k));
      delta[head * tokens + t] = sum_of_lanes<float>(sum);
    }
  }

  // Row t and the next of a block that ends before `end`. Hides the keys that they do not see.
  TwoRows two_rows(const Tiles& tiles, int64_t head, int64_t t, int64_t row, int64_t end, Range keys,
                   Range written) const {
    float *score = tiles.score + row * kTileKeys, *dp = tiles.dp + row * kTileKeys;
    TwoRows rows = {score, dp, exponent_scale(layout.head_size), {}, {}};
    for (int64_t i = 0; i < 2; ++i) {
      Range seen = {written.begin, written.begin};
      if (t + i < end) {
        const int64_t at = head * tokens + t + i;
        rows.shift[i] = lse[at] * std::numbers::log2e_v<float>;
        rows.delta[i] = delta[at];
        seen = visible.of(t + i, keys.begin, keys.end - keys.begin);
      }
      fill_hidden(score + i * kTileKeys, seen, written, -std::numeric_limits<float>::infinity());
      fill_hidden(dp + i * kTileKeys, seen, written, 0.0F);
    }
    return rows;
  }

  // p, ds and dq of a tile of queries.
  void differentiate_queries(Products& products, const Tiles& tiles, int64_t head, Range queries,
                             Range keys) const {
    for (int64_t first = queries.begin; first < queries.end; first += kSteps.rows) {
      const int64_t end = std::min(first + kSteps.rows, queries.end);
      const Range seen = visible.of(first, end - 1, keys.begin, keys.end - keys.begin),
                  written = widened(seen, kSteps.columns),
                  pairs_seen = widened({seen.begin / 2, (seen.end + 1) / 2}, kSteps.pairs);
      if (seen.empty()) {
        const int64_t pair = (first - queries.begin) / 2;
        for (BF16Pair* square : {tiles.p_paired, tiles.ds_paired})
          std::fill_n(square + pair * kTileKeys, kSteps.rows / 2 * kTileKeys, BF16Pair{0});
        continue;
      }
      const int64_t columns = written.end - written.begin,
                    pairs = rounded_up((layout.head_size + 1) / 2, kSteps.pairs);
      products.template multiply<false>({tiles.score + written.begin, kTileKeys},
                                        {tiles.rows_from(tiles.q, first), tiles.pair_stride, 1},
                                        {tiles.keys_across + written.begin, kTileKeys}, columns, pairs);
      products.template multiply<false>({tiles.dp + written.begin, kTileKeys},
                                        {tiles.rows_from(tiles.d_o, first), tiles.pair_stride, 1},
                                        {tiles.values_across + written.begin, kTileKeys}, columns, pairs);
      for (int64_t row = 0; row < kSteps.rows; row += 2)
        differentiate_rows(tiles, two_rows(tiles, head, first + row, row, end, keys, written), row,
                           (first + row - queries.begin) / 2, written);
      products.template multiply<true>({tiles.dq + (first - tiles.begin) * tiles.stride, tiles.stride},
                                       {tiles.ds + pairs_seen.begin, kTileKeys / 2, 1},
                                       {tiles.keys_paired + pairs_seen.begin * tiles.stride, tiles.stride},
                                       tiles.stride, pairs_seen.end - pairs_seen.begin);
    }
  }

  // Adds a tile of queries to the gradients of the keys and values they see.
  void add_to_keys(Products& products, const Tiles& tiles, Range queries, Range keys) const {
    const int64_t rows = queries.end - queries.begin;
    int64_t begin = 0, end = 0;
    for (int64_t column = 0; column < keys.end - keys.begin; column += kSteps.rows) {
      begin = seeing_from(begin, queries, keys.begin + column, kSteps.rows);
      while (end < rows && visible.first[queries.begin + end] < keys.begin + column + kSteps.rows) ++end;
      if (end <= begin) continue;
      const int64_t first = begin / 2 * kTileKeys + column,
                    depth = rounded_up((end - begin + 1) / 2, kSteps.pairs);
      products.template multiply<true>(
          {tiles.dvalues + column * tiles.stride, tiles.stride}, {tiles.p_paired + first, 1, kTileKeys},
          {tiles.rows_from(tiles.d_o_paired, queries.begin + begin), tiles.stride}, tiles.stride, depth);
      products.template multiply<true>(
          {tiles.dkeys + column * tiles.stride, tiles.stride}, {tiles.ds_paired + first, 1, kTileKeys},
          {tiles.rows_from(tiles.q_paired, queries.begin + begin), tiles.stride}, tiles.stride, depth);
    }
  }

  // Brings in a tile of keys and values.
  void begin_keys(const Tiles& tiles, int64_t kv_head, Range keys) const {
    const Block<BF16Pair> rows = {tiles.rows_of_tile, tiles.pair_stride};
    const Block<const BF16Pair> in = {rows.data, rows.stride};
    const int64_t count = keys.end - keys.begin;
    copy_to_pairs(rows, {kv.value(keys.begin, kv_head), kv.stride}, count, kTileKeys, layout.head_size);
    transpose<BF16Pair>({tiles.values_across, kTileKeys}, in, kTileKeys, in.stride);
    copy_to_pairs(rows, {kv.key(keys.begin, kv_head), kv.stride}, count, kTileKeys, layout.head_size);
    transpose<BF16Pair>({tiles.keys_across, kTileKeys}, in, kTileKeys, in.stride);
    pair_up_rows({tiles.keys_paired, tiles.stride}, in, kTileKeys);
    std::fill_n(tiles.dkeys, kTileKeys * tiles.stride, 0.0F);
    std::fill_n(tiles.dvalues, kTileKeys * tiles.stride, 0.0F);
  }

  // Writes a tile of a gradient, or adds it to what others have written.
  void write_rows(Block<BF16> out, Block<const float> tile, int64_t rows, float scale, bool first) const {
    const auto write = first ? copy_rows<BF16, float, float> : add_rows<BF16, float>;
    write(out, tile, rows, layout.head_size, scale);
  }

  // What one head adds to the gradient of one tile of keys and values. Tiles of keys begin at multiples of 64
  // from the span's begin, and tiles of queries at multiples of kSteps.rows.
  void run_keys(Products& products, const Tiles& tiles, int64_t head, Range keys, Range all_queries) const {
    const int64_t kv_head = head / layout.group(), rows = keys.end - keys.begin;
    begin_keys(tiles, kv_head, keys);
    for (int64_t query = first_query(all_queries, keys.begin, kSteps.rows);
         query < all_queries.end && visible.first[query] < keys.end; query += kTileQueries) {
      const Range queries = {query, std::min(query + kTileQueries, all_queries.end)};
      differentiate_queries(products, tiles, head, queries, keys);
      add_to_keys(products, tiles, queries, keys);
    }
    const bool first = head % layout.group() == 0 && !adds;
    write_rows({dkv.key(keys.begin, kv_head), dkv.stride}, {tiles.dkeys, tiles.stride}, rows, scale(), first);
    write_rows({dkv.value(keys.begin, kv_head), dkv.stride}, {tiles.dvalues, tiles.stride}, rows, 1, first);
  }

  void run_span(int64_t kv_head, const Span& span) const {
    const Range& queries = span.queries;
    Products products;
    const Tiles tiles(layout.head_size, queries, kSteps);
    for (int64_t head = kv_head * layout.group(); head < (kv_head + 1) * layout.group(); ++head) {
      begin_head(tiles, head, queries);
      for (int64_t key = span.keys.begin; key < span.keys.end; key += kTileKeys)
        run_keys(products, tiles, head, {key, std::min(key + kTileKeys, span.keys.end)}, queries);
      write_rows({dqkv + queries.begin * row_size + layout.query(head), row_size}, {tiles.dq, tiles.stride},
                 queries.end - queries.begin, scale(), !adds);
    }
  }
};

}  // namespace

template <>
void AttentionBackward<BF16>::run(int64_t kv_head, int64_t token) const {
  const Span documents = span(token);
  if (documents.queries.empty()) return;
  if (has_amx())
    Backward<AmxProducts>{*this}.run_span(kv_head, documents);
  else
    Backward<VectorProducts>{*this}.run_span(kv_head, documents);
}

}  // namespace fern
