#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "framework/ops/attention.h"
#include "framework/ops/checks.h"

namespace fern {

namespace {

template <typename T>
T dot(const T* a, const T* b, int64_t size) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

template <typename T>
void add_scaled(T* y, T scale, const T* x, int64_t size) {
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) y[i] += scale * x[i];
}

// One query over keys and values whose rows are `stride` apart. Returns the log-sum-exp; `score` is scratch.
template <typename T>
T attend(T* o, T* score, const T* q, const T* keys, const T* values, int64_t length, int64_t stride,
         int64_t head_size) {
  const T scale = 1 / std::sqrt(static_cast<T>(head_size));
  T max = -std::numeric_limits<T>::infinity(), sum = 0;
  for (int64_t s = 0; s < length; ++s) {
    score[s] = scale * dot(q, keys + s * stride, head_size);
    max = std::max(max, score[s]);
  }
#pragma omp simd reduction(+ : sum)
  for (int64_t s = 0; s < length; ++s) {
    score[s] = std::exp(score[s] - max);
    sum += score[s];
  }
  std::fill_n(o, head_size, T(0));
  for (int64_t s = 0; s < length; ++s) add_scaled(o, score[s] / sum, values + s * stride, head_size);
  return max + std::log(sum);
}

}  // namespace

void attention_forward(Tensor o_TM, Tensor lse_HT, const Tensor& qkv_TE, const Tensor& document_start_T,
                       int64_t heads, int64_t kv_heads, Stream& stream) {
  constexpr std::string_view op = "attention_forward";
  expect_on_cpu(op, stream, {o_TM, lse_HT, qkv_TE, document_start_T});
  expect_rank(op, "qkv", qkv_TE, 2);
  const int64_t tokens = qkv_TE.dim(0), row_size = qkv_TE.dim(1);
  const HeadLayout layout = head_layout(op, row_size, heads, kv_heads);
  const int64_t head_size = layout.head_size, o_size = heads * head_size;
  expect_tensor(op, "o", o_TM, qkv_TE.dtype(), {tokens, o_size});
  expect_tensor(op, "lse", lse_HT, qkv_TE.dtype(), {heads, tokens});
  expect_document_starts(op, document_start_T, tokens);
  with_float_type(op, qkv_TE.dtype(), [&]<typename T>() {
    T *o = o_TM.as<T>(), *lse = lse_HT.as<T>();
    const T* qkv = qkv_TE.as<T>();
    const int32_t* start = document_start_T.as<int32_t>();
#pragma omp parallel
    {
      std::vector<T> score(static_cast<size_t>(tokens));
#pragma omp for collapse(2) schedule(dynamic, 16)
      for (int64_t head = 0; head < heads; ++head)
        for (int64_t t = 0; t < tokens; ++t) {
          const int64_t kv_head = head / layout.group();
          const T* document = qkv + start[t] * row_size;
          lse[head * tokens + t] =
              attend(o + t * o_size + head * head_size, score.data(), qkv + t * row_size + layout.query(head),
                     document + layout.key(kv_head), document + layout.value(kv_head), t - start[t] + 1,
                     row_size, head_size);
        }
    }
  });
}

void attention_backward(Tensor dqkv_TE, Tensor delta_HT, const Tensor& do_TM, const Tensor& o_TM,
                        const Tensor& lse_HT, const Tensor& qkv_TE, const Tensor& document_start_T,
                        int64_t heads, int64_t kv_heads, Stream& stream) {
  constexpr std::string_view op = "attention_backward";
  expect_on_cpu(op, stream, {dqkv_TE, delta_HT, do_TM, o_TM, lse_HT, qkv_TE, document_start_T});
  expect_rank(op, "qkv", qkv_TE, 2);
  const int64_t tokens = qkv_TE.dim(0), row_size = qkv_TE.dim(1);
  const HeadLayout layout = head_layout(op, row_size, heads, kv_heads);
  const int64_t head_size = layout.head_size, o_size = heads * head_size;
  expect_tensor(op, "dqkv", dqkv_TE, qkv_TE.dtype(), {tokens, row_size});
  expect_tensor(op, "delta", delta_HT, qkv_TE.dtype(), {heads, tokens});
  expect_tensor(op, "do", do_TM, qkv_TE.dtype(), {tokens, o_size});
  expect_tensor(op, "o", o_TM, qkv_TE.dtype(), {tokens, o_size});
  expect_tensor(op, "lse", lse_HT, qkv_TE.dtype(), {heads, tokens});
  expect_document_starts(op, document_start_T, tokens);
  with_float_type(op, qkv_TE.dtype(), [&]<typename T>() {
    T *dqkv = dqkv_TE.as<T>(), *delta = delta_HT.as<T>();
    const T *d_o = do_TM.as<T>(), *o = o_TM.as<T>(), *lse = lse_HT.as<T>(), *qkv = qkv_TE.as<T>();
    const int32_t* start = document_start_T.as<int32_t>();
    const T scale = 1 / std::sqrt(static_cast<T>(head_size));
    std::fill_n(dqkv, tokens * row_size, T(0));
#pragma omp parallel for schedule(dynamic)
    for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head)
      for (int64_t head = kv_head * layout.group(); head < (kv_head + 1) * layout.group(); ++head)
        for (int64_t t = 0; t < tokens; ++t) {
          const int64_t query = t * row_size + layout.query(head), out = t * o_size + head * head_size;
          const T row_delta = dot(d_o + out, o + out, head_size);
          delta[head * tokens + t] = row_delta;
          for (int64_t s = start[t]; s <= t; ++s) {
            const int64_t key = s * row_size + layout.key(kv_head),
                          value = s * row_size + layout.value(kv_head);
            const T p = std::exp(scale * dot(qkv + query, qkv + key, head_size) - lse[head * tokens + t]);
            const T ds = scale * p * (dot(d_o + out, qkv + value, head_size) - row_delta);
            add_scaled(dqkv + value, p, d_o + out, head_size);
            add_scaled(dqkv + key, ds, qkv + query, head_size);
            add_scaled(dqkv + query, ds, qkv + key, head_size);
          }
        }
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
#pragma omp parallel
    {
      std::vector<T> score(static_cast<size_t>(length));
#pragma omp for
      for (int64_t head = 0; head < heads; ++head) {
        const int64_t column = head / (heads / kv_heads) * head_size;
        attend(o + head * head_size, score.data(), q + head * head_size, keys + column, values + column,
               length, kv_size, head_size);
      }
    }
  });
}

}  // namespace fern
