// Attention's forward on bf16 activations: products of bf16 with f32 sums, and f32 softmax.
#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/ops/attention_bf16.h"
#include "framework/ops/scratch.h"
#include "framework/ops/simd_exp.h"

namespace fern {

namespace {

constexpr int64_t kTileQueries = AttentionForward<BF16>::kTileQueries;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One tile of queries of one head, with what has been summed over the tiles of keys so far. Two strides, both
// of a row padded for the kernel: of values, and of pairs of them.
struct QueryTile {
  QueryTile(int64_t rows, int64_t head_size)
      : rows(rows),
        pairs((head_size + 1) / 2),
        stride(rounded_up(head_size, kColumnStep<float>)),
        pair_stride(stride / 2),
        scale(exponent_scale(head_size)) {
    BF16Pair* next =
        thread_scratch<BF16Pair>((kTileQueries + kTileKeys * 3) * pair_stride + kRowBlock * kTileKeys / 2);
    q = next, next += kTileQueries * pair_stride;
    rows_of_tile = next, next += kTileKeys * pair_stride;
    keys_across = next, next += kTileKeys * pair_stride;
    values = next, next += kTileKeys * pair_stride;
    p = next;
    o = thread_scratch<float>(kTileQueries * (stride + 2) + kRowBlock * kTileKeys);
    score = o + kTileQueries * stride;
    zero = score + kRowBlock * kTileKeys;
    sum = zero + kTileQueries;
    std::fill_n(o, kTileQueries * stride, 0.0F);
    std::fill_n(zero, kTileQueries, -kInfinity);
    std::fill_n(sum, kTileQueries, 0.0F);
  }

  int64_t rows, pairs, stride, pair_stride;
  float scale;
  BF16Pair* q;             // [kTileQueries, pair_stride]
  BF16Pair* rows_of_tile;  // [kTileKeys, pair_stride], keys and then values as they lie in memory
  BF16Pair* keys_across;   // [pair_stride, kTileKeys]
  BF16Pair* values;        // [kTileKeys / 2, stride], pairs of keys
  BF16Pair* p;             // [kRowBlock, kTileKeys / 2], pairs of keys
  float* o;                // [kTileQueries, stride], not yet divided by sum
  float* score;            // [kRowBlock, kTileKeys], not scaled
  float *zero, *sum;       // of each row's exponentials: what they are counted from, in powers of 2
};

// Doublings by which a score may pass the zero that its row's exponentials are counted from: few rows then
// need a new zero after their first tile, and sums are far from overflow.
constexpr float kHeadroom = 8;

// Counts what a row has summed from a new zero.
void move_zero(QueryTile& tile, int64_t row, float zero) {
  const float shrink = std::exp2(tile.zero[row] - zero);
  float* o = tile.o + row * tile.stride;
#pragma omp simd
  for (int64_t k = 0; k < tile.stride; ++k) o[k] *= shrink;
  tile.sum[row] *= shrink;
  tile.zero[row] = zero;
}

// Turns a row of scores into 2^(scale score - zero) in p.
void soften_row(QueryTile& tile, int64_t row, float* score, BF16Pair* p, Range visible, Range written) {
  constexpr int64_t kStep = kLanes<float>;
  if (visible.empty()) return fill_hidden(p, visible, {written.begin / 2, written.end / 2}, BF16Pair{0});
  fill_hidden(score, visible, written, -kInfinity);
  Vector<float> highest = load(score + written.begin), total = {};
  for (int64_t s = written.begin + kStep; s < written.end; s += kStep)
    highest = larger(highest, load(score + s));
  const float max = tile.scale * largest_lane(highest);
  if (max > tile.zero[row] + kHeadroom) move_zero(tile, row, max);
  const float zero = tile.zero[row];
  for (int64_t s = written.begin; s < written.end; s += 2 * kStep) {
    const Vector<float> first = exp2(load(score + s) * tile.scale - zero),
                        second = exp2(load(score + s + kStep) * tile.scale - zero);
    total += first + second;
    store(p + s / 2, std::bit_cast<Vector<BF16Pair>>(rounded_row(first, second)));
  }
  tile.sum[row] += sum_of_lanes(total);
}

// Adds a tile of keys and values to every query that sees some of it.
void attend_tile(QueryTile& tile, const Visible& visible, int64_t query, int64_t key, int64_t keys) {
  for (int64_t row = 0; row < tile.rows; row += kRowBlock) {
    const int64_t rows = std::min(kRowBlock, tile.rows - row), first = query + row;
    const Range seen = visible.of(first, first + rows - 1, key, keys), written = widened<float>(seen),
                pairs = {seen.begin / 2, (seen.end + 1) / 2};
    if (seen.empty()) continue;
    product_of_rows<float, false, BF16Pair>(
        {tile.score + written.begin, kTileKeys}, {tile.q + row * tile.pair_stride, tile.pair_stride, 1},
        {tile.keys_across + written.begin, kTileKeys}, written.end - written.begin, tile.pairs);
    for (int64_t r = 0; r < rows; ++r)
      soften_row(tile, row + r, tile.score + r * kTileKeys, tile.p + r * kTileKeys / 2,
                 visible.of(first + r, key, keys), written);
    product_of_rows<float, true, BF16Pair>(
        {tile.o + row * tile.stride, tile.stride}, {tile.p + pairs.begin, kTileKeys / 2, 1},
        {tile.values + pairs.begin * tile.stride, tile.stride}, tile.stride, pairs.end - pairs.begin);
  }
}

}  // namespace

template <>
void AttentionForward<BF16>::run(int64_t head, int64_t query) const {
  const int64_t head_size = layout.head_size, rows = std::min(kTileQueries, tokens - query);
  const int64_t kv_head = head / layout.group();
  QueryTile tile(rows, head_size);
  const int64_t stride = tile.pair_stride;
  copy_to_pairs({tile.q, stride}, {qkv + query * row_size + layout.query(head), row_size}, rows,
                rounded_up(rows, kRowBlock), head_size);
  const int64_t end = visible.end[query + rows - 1];
  for (int64_t key = visible.first[query]; key < end; key += kTileKeys) {
    const int64_t keys = std::min(kTileKeys, end - key);
    copy_to_pairs({tile.rows_of_tile, stride}, {kv.key(key, kv_head), kv.stride}, keys, kTileKeys, head_size);
    transpose<BF16Pair>({tile.keys_across, kTileKeys}, {tile.rows_of_tile, stride}, kTileKeys, stride);
    copy_to_pairs({tile.rows_of_tile, stride}, {kv.value(key, kv_head), kv.stride}, keys, kTileKeys,
                  head_size);
    pair_up_rows({tile.values, tile.stride}, {tile.rows_of_tile, stride}, kTileKeys);
    attend_tile(tile, visible, query, key, keys);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t t = query + r;
    copy_rows<BF16, float>({o + (t * layout.heads + head) * head_size, head_size},
                           {tile.o + r * tile.stride, tile.stride}, 1, head_size, inverse(tile.sum[r]));
    lse[head * tokens + t] = tile.zero[r] * std::numbers::ln2_v<float> + std::log(tile.sum[r]);
  }
}

}  // namespace fern
