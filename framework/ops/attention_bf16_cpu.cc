// Attention's forward on bf16 activations: products of bf16 with f32 sums, and f32 softmax. With the way of
// multiplying, steps of rows, keys and values differ, and all else is the same.
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
  QueryTile(int64_t rows, int64_t head_size, const ProductSteps& steps)
      : rows(rows),
        pairs(rounded_up((head_size + 1) / 2, steps.pairs)),
        stride(rounded_up(head_size, steps.columns)),
        pair_stride(stride / 2),
        scale(exponent_scale(head_size)) {
    BF16Pair* next =
        thread_scratch<BF16Pair>((kTileQueries + kTileKeys * 3) * pair_stride + steps.rows * kTileKeys / 2);
    q = next, next += kTileQueries * pair_stride;
    rows_of_tile = next, next += kTileKeys * pair_stride;
    keys_across = next, next += kTileKeys * pair_stride;
    values = next, next += kTileKeys * pair_stride;
    p = next;
    o = thread_scratch<float>(kTileQueries * (stride + 2) + steps.rows * kTileKeys);
    score = o + kTileQueries * stride;
    zero = score + steps.rows * kTileKeys;
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
  BF16Pair* p;             // [steps.rows, kTileKeys / 2], pairs of keys
  float* o;                // [kTileQueries, stride], not yet divided by sum
  float* score;            // [steps.rows, kTileKeys], not scaled
  float *zero, *sum;       // of each row's exponentials: what they are counted from, in powers of 2
};

// Doublings by which a score may pass the zero that its row's exponentials are counted from: few rows then
// need a new zero after their first tile, and sums are far from overflow.
constexpr float kHeadroom = 8;

// Counts what a row has summed from a new zero.
void move_zero(QueryTile& tile, int64_t row, float zero) {
  if (tile.sum[row] == 0) {
    tile.zero[row] = zero;
    return;
  }
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
    highest = larger<float>(highest, load(score + s));
  const float max = tile.scale * largest_lane(highest);
  if (max > tile.zero[row] + kHeadroom) move_zero(tile, row, max);
  const float zero = tile.zero[row];
  for (int64_t s = written.begin; s < written.end; s += 2 * kStep) {
    const Vector<float> first = exp2(load(score + s) * tile.scale - zero),
                        second = exp2(load(score + s + kStep) * tile.scale - zero);
    total += first + second;
    store(p + s / 2, std::bit_cast<Vector<BF16Pair>>(rounded_row(first, second)));
  }
  tile.sum[row] += sum_of_lanes<float>(total);
}

// Adds a tile of keys and values to every query that sees some of it.
template <typename Products>
void attend_tile(Products& products, QueryTile& tile, const Visible& visible, int64_t query, int64_t key,
                 int64_t keys) {
  constexpr ProductSteps kSteps = Products::kSteps;
  for (int64_t row = 0; row < tile.rows; row += kSteps.rows) {
    const int64_t rows = std::min(kSteps.rows, tile.rows - row), first = query + row;
    const Range seen = visible.of(first, first + rows - 1, key, keys),
                written = widened(seen, kSteps.columns),
                pairs = widened({seen.begin / 2, (seen.end + 1) / 2}, kSteps.pairs);
    if (seen.empty()) continue;
    products.template multiply<false>(
        {tile.score + written.begin, kTileKeys}, {tile.q + row * tile.pair_stride, tile.pair_stride, 1},
        {tile.keys_across + written.begin, kTileKeys}, written.end - written.begin, tile.pairs);
    for (int64_t r = 0; r < rows; ++r)
      soften_row(tile, row + r, tile.score + r * kTileKeys, tile.p + r * kTileKeys / 2,
                 visible.of(first + r, key, keys), written);
    products.template multiply<true>(
        {tile.o + row * tile.stride, tile.stride}, {tile.p + pairs.begin, kTileKeys / 2, 1},
        {tile.values + pairs.begin * tile.stride, tile.stride}, tile.stride, pairs.end - pairs.begin);
  }
}

template <typename Products>
void run_tile(const AttentionForward<BF16>& op, int64_t head, int64_t query) {
  Products products;
  const HeadLayout& layout = op.layout;
  const int64_t head_size = layout.head_size, rows = std::min(kTileQueries, op.tokens - query);
  const int64_t kv_head = head / layout.group();
  const KeyRows<const BF16>& kv = op.kv;
  QueryTile tile(rows, head_size, Products::kSteps);
  const int64_t stride = tile.pair_stride;
  copy_to_pairs({tile.q, stride}, {op.qkv + query * op.row_size + layout.query(head), op.row_size}, rows,
                rounded_up(rows, Products::kSteps.rows), head_size);
  const int64_t end = op.visible.end[query + rows - 1];
  for (int64_t key = op.visible.first[query]; key < end; key += kTileKeys) {
    const int64_t keys = std::min(kTileKeys, end - key);
    copy_to_pairs({tile.rows_of_tile, stride}, {kv.key(key, kv_head), kv.stride}, keys, kTileKeys, head_size);
    transpose<BF16Pair>({tile.keys_across, kTileKeys}, {tile.rows_of_tile, stride}, kTileKeys, stride);
    copy_to_pairs({tile.rows_of_tile, stride}, {kv.value(key, kv_head), kv.stride}, keys, kTileKeys,
                  head_size);
    pair_up_rows({tile.values, tile.stride}, {tile.rows_of_tile, stride}, kTileKeys);
    attend_tile(products, tile, op.visible, query, key, keys);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t t = query + r;
    copy_rows<BF16, float>({op.o + (t * layout.heads + head) * head_size, head_size},
                           {tile.o + r * tile.stride, tile.stride}, 1, head_size, op.inverse(tile.sum[r]));
    op.lse[head * op.tokens + t] = tile.zero[r] * std::numbers::ln2_v<float> + std::log(tile.sum[r]);
  }
}

}  // namespace

template <>
void AttentionForward<BF16>::run(int64_t head, int64_t query) const {
  if (has_amx())
    run_tile<AmxProducts>(*this, head, query);
  else
    run_tile<VectorProducts>(*this, head, query);
}

}  // namespace fern
