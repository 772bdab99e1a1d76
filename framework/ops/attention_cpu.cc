#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/ops/attention.h"
#include "framework/ops/attention_tiles.h"
#include "framework/ops/checks.h"
#include "framework/ops/exp.h"
#include "framework/ops/scratch.h"
#include "framework/ops/simd_exp.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

// One tile of queries of one head, with what has been summed over the tiles of keys so far.
template <typename T>
struct QueryTile {
  static constexpr int64_t kTileQueries = AttentionForward<T>::kTileQueries;

  QueryTile(int64_t rows, int64_t head_size)
      : rows(rows), head_size(head_size), stride(rounded_up(head_size, kColumnStep<T>)) {
    const int64_t o_size = kTileQueries * stride, keys_size = head_size * kTileKeys,
                  values_size = kTileKeys * stride;
    q = thread_scratch<T>(2 * o_size + keys_size + 2 * values_size + kRowBlock * kTileKeys +
                          2 * kTileQueries);
    o = q + o_size;
    keys_across = o + o_size;
    keys = keys_across + keys_size;
    values = keys + values_size;
    score = values + values_size;
    max = score + kRowBlock * kTileKeys;
    sum = max + kTileQueries;
    std::fill_n(o, o_size, T(0));
    std::fill_n(max, kTileQueries, -std::numeric_limits<T>::infinity());
    std::fill_n(sum, kTileQueries, T(0));
  }

  int64_t rows, head_size, stride;
  T *q, *o;          // [rows, stride]; q is scaled, o not yet divided by sum
  T* keys_across;    // [head_size, kTileKeys]
  T *keys, *values;  // [kTileKeys, stride]
  T* score;          // [kRowBlock, kTileKeys]
  T *max, *sum;      // of each row's scores and their exponentials
};

// Turns a row of scores into exp(score - max), moving the row's sums to the new maximum.
template <typename T>
void soften_row(QueryTile<T>& tile, int64_t row, T* score, Range visible, Range written) {
  if (visible.empty()) return fill_hidden(score, visible, written, T(0));
  fill_hidden(score, visible, written, -std::numeric_limits<T>::infinity());
  const T* begin = score + written.begin;
  const int64_t columns = written.end - written.begin;
  const T max = std::max(tile.max[row], folded_row<T>(begin, columns, larger<T>));
#pragma omp simd
  for (int64_t s = written.begin; s < written.end; ++s) score[s] = fast_exp(score[s] - max);
  const T sum = folded_row<T>(begin, columns, sum_of_two<T>);
  if (max != tile.max[row]) {
    const T shrink = fast_exp(tile.max[row] - max);
    T* o = tile.o + row * tile.stride;
#pragma omp simd
    for (int64_t k = 0; k < tile.stride; ++k) o[k] *= shrink;
    tile.sum[row] *= shrink;
    tile.max[row] = max;
  }
  tile.sum[row] += sum;
}

// Adds a tile of keys and values to every query that sees some of it.
template <typename T>
void attend_tile(QueryTile<T>& tile, const Visible& visible, int64_t query, int64_t key, int64_t keys) {
  for (int64_t row = 0; row < tile.rows; row += kRowBlock) {
    const int64_t rows = std::min(kRowBlock, tile.rows - row), first = query + row;
    const Range seen = visible.of(first, first + rows - 1, key, keys),
                written = widened(seen, kColumnStep<T>);
    if (seen.empty()) continue;
    product_of_rows<T, false>(
        {tile.score + written.begin, kTileKeys}, {tile.q + row * tile.stride, tile.stride, 1},
        {tile.keys_across + written.begin, kTileKeys}, written.end - written.begin, tile.head_size);
    for (int64_t r = 0; r < rows; ++r)
      soften_row(tile, row + r, tile.score + r * kTileKeys, visible.of(first + r, key, keys), written);
    product_of_rows<T, true>(
        {tile.o + row * tile.stride, tile.stride}, {tile.score + seen.begin, kTileKeys, 1},
        {tile.values + seen.begin * tile.stride, tile.stride}, tile.stride, seen.end - seen.begin);
  }
}

// One query over keys and values whose rows are `stride` apart; `score` and `sum_K` are scratch.
template <typename T>
void attend(T* o, Wide<T>* score, Wide<T>* sum_K, const T* q, const T* keys, const T* values, int64_t length,
            int64_t stride, int64_t head_size) {
  const Wide<T> scale = 1 / std::sqrt(static_cast<Wide<T>>(head_size));
  Wide<T> max = -std::numeric_limits<Wide<T>>::infinity(), sum = 0;
  for (int64_t s = 0; s < length; ++s) {
    const T* key = keys + s * stride;
    Wide<T> product = 0;
#pragma omp simd reduction(+ : product)
    for (int64_t k = 0; k < head_size; ++k) product += widen(q[k]) * widen(key[k]);
    score[s] = scale * product;
    max = std::max(max, score[s]);
  }
#pragma omp simd reduction(+ : sum)
  for (int64_t s = 0; s < length; ++s) {
    score[s] = fast_exp(score[s] - max);
    sum += score[s];
  }
  std::fill_n(sum_K, head_size, Wide<T>(0));
  for (int64_t s = 0; s < length; ++s) {
    const Wide<T> weight = score[s] / sum;
    const T* value = values + s * stride;
#pragma omp simd
    for (int64_t k = 0; k < head_size; ++k) sum_K[k] += weight * widen(value[k]);
  }
  copy_rows<T, Wide<T>>({o, head_size}, {sum_K, head_size}, 1, head_size);
}

}  // namespace

template <typename T>
void AttentionForward<T>::run(int64_t head, int64_t query) const {
  const int64_t head_size = layout.head_size, rows = std::min(kTileQueries, tokens - query);
  const int64_t kv_head = head / layout.group();
  QueryTile<T> tile(rows, head_size);
  copy_rows<T, T>({tile.q, tile.stride}, {qkv + query * row_size + layout.query(head), row_size}, rows,
                  head_size, 1 / std::sqrt(static_cast<T>(head_size)));
  const int64_t end = visible.end[query + rows - 1];
  for (int64_t key = visible.first[query]; key < end; key += kTileKeys) {
    const int64_t keys = std::min(kTileKeys, end - key);
    copy_rows<T, T>({tile.keys, tile.stride}, {kv.key(key, kv_head), kv.stride}, keys, head_size);
    transpose<T>({tile.keys_across, kTileKeys}, {tile.keys, tile.stride}, keys, head_size);
    copy_rows<T, T>({tile.values, tile.stride}, {kv.value(key, kv_head), kv.stride}, keys, head_size);
    attend_tile(tile, visible, query, key, keys);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t t = query + r;
    copy_rows<T, T>({o + (t * layout.heads + head) * head_size, head_size},
                    {tile.o + r * tile.stride, tile.stride}, 1, head_size, inverse(tile.sum[r]));
    lse[head * tokens + t] = tile.max[r] + std::log(tile.sum[r]);
  }
}

void attention_forward(Tensor o_TM, Tensor lse_HT, const Tensor& qkv_TE, const SeenKeys& seen, int64_t heads,
                       int64_t kv_heads, Stream& stream) {
  constexpr std::string_view op = "attention_forward";
  expect_on_cpu(op, stream, {o_TM, lse_HT, qkv_TE, seen.kv_SR, seen.first_T, seen.end_T});
  expect_rank(op, "qkv", qkv_TE, 2);
  const int64_t tokens = qkv_TE.dim(0), row_size = qkv_TE.dim(1);
  const HeadLayout layout = head_layout(op, row_size, heads, kv_heads);
  expect_tensor(op, "o", o_TM, qkv_TE.dtype(), {tokens, heads * layout.head_size});
  expect_tensor(op, "lse", lse_HT, wide_of(qkv_TE.dtype()), {heads, tokens});
  expect_key_rows(op, "kv", seen.kv_SR, qkv_TE.dtype(), layout);
  expect_key_ranges(op, seen.first_T, seen.end_T, tokens, seen.kv_SR.dim(0));
  const OpTimer timer(
      stream, op,
      attention_work(stream, 2, heads, layout.head_size, seen.first_T, seen.end_T, {o_TM, qkv_TE}));
  with_float_type(op, qkv_TE.dtype(), [&]<typename T>() {
    const AttentionForward<T> forward = {.o = o_TM.as<T>(),
                                         .lse = lse_HT.as<Wide<T>>(),
                                         .qkv = qkv_TE.as<T>(),
                                         .kv = key_rows<const T>(seen.kv_SR, layout),
                                         .visible = {seen.first_T.as<int32_t>(), seen.end_T.as<int32_t>()},
                                         .tokens = tokens,
                                         .row_size = row_size,
                                         .layout = layout};
#pragma omp parallel for collapse(2) schedule(dynamic) if (tokens * row_size >= kParallelElements)
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t query = 0; query < tokens; query += forward.kTileQueries) forward.run(head, query);
  });
}

void attention_decode(Tensor o_M, const Tensor& q_M, const Tensor& keys_CN, const Tensor& values_CN,
                      int64_t length, int64_t heads, int64_t kv_heads, Stream& stream) {
  constexpr std::string_view op = "attention_decode";
  expect_on_cpu(op, stream, {o_M, q_M, keys_CN, values_CN});
  expect(kv_heads >= 1 && heads >= 1 && heads % kv_heads == 0,
         "[{}] expected kv_heads that divide heads, got {} heads and {} kv_heads", op, heads, kv_heads);
  expect_rank(op, "q", q_M, 1);
  expect_rank(op, "keys", keys_CN, 2);
  expect(q_M.dim(0) >= heads && q_M.dim(0) % heads == 0, "[{}] q: expected a multiple of {} heads, got {}",
         op, heads, q_M.dim(0));
  const int64_t head_size = q_M.dim(0) / heads, capacity = keys_CN.dim(0), kv_size = kv_heads * head_size;
  expect_tensor(op, "o", o_M, q_M.dtype(), q_M.shape());
  expect_tensor(op, "keys", keys_CN, q_M.dtype(), {capacity, kv_size});
  expect_tensor(op, "values", values_CN, q_M.dtype(), {capacity, kv_size});
  expect(1 <= length && length <= capacity, "[{}] expected a length in 1..{}, got {}", op, capacity, length);
  with_float_type(op, q_M.dtype(), [&]<typename T>() {
    T* o = o_M.as<T>();
    const T *q = q_M.as<T>(), *keys = keys_CN.as<T>(), *values = values_CN.as<T>();
#pragma omp parallel for if (length * kv_size >= kParallelElements)
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t column = head / (heads / kv_heads) * head_size;
      Wide<T>* scratch = thread_scratch<Wide<T>>(length + head_size);
      attend(o + head * head_size, scratch, scratch + length, q + head * head_size, keys + column,
             values + column, length, kv_size, head_size);
    }
  });
}

}  // namespace fern
