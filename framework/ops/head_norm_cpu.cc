#include <algorithm>
#include <cmath>

#include "framework/ops/checks.h"
#include "framework/ops/head_norm.h"
#include "framework/ops/norm_row.h"
#include "framework/ops/scratch.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

// Tokens whose part of dw is summed on its own, whatever the number of threads.
constexpr int64_t kTokenBlock = 64;

void check(std::string_view op, const Stream& stream, const Tensor& qkv_TE, const Tensor& raw_TJ,
           const Tensor& w_K, HeadRange heads) {
  expect_on_cpu(op, stream, {qkv_TE, raw_TJ, w_K});
  expect_rank(op, "qkv", qkv_TE, 2);
  expect_rank(op, "raw", raw_TJ, 2);
  expect_rank(op, "w", w_K, 1);
  expect_tensor(op, "raw", raw_TJ, qkv_TE.dtype(), {qkv_TE.dim(0), raw_TJ.dim(1)});
  expect_tensor(op, "w", w_K, wide_of(qkv_TE.dtype()), w_K.shape());
  const int64_t most = std::min(qkv_TE.dim(1), raw_TJ.dim(1)) / w_K.dim(0);
  expect(0 <= heads.begin && heads.begin <= heads.end && heads.end <= most,
         "[{}] expected some of {} heads of size {}, got {} to {}", op, most, w_K.dim(0), heads.begin,
         heads.end - 1);
}

// It reads or writes the values of these heads three times.
OpWork work_of(const Tensor& qkv_TE, const Tensor& w_K, HeadRange heads) {
  const int64_t values = qkv_TE.dim(0) * (heads.end - heads.begin) * w_K.dim(0);
  return {.bytes = 3.0 * static_cast<double>(values) * static_cast<double>(size_of(qkv_TE.dtype()))};
}

template <typename T>
void backward_head(T* gradient, Wide<T>* dw, const T* x, const Wide<T>* w, int64_t size, Wide<T> epsilon) {
  Wide<T> squares = 0, sum = 0;
#pragma omp simd reduction(+ : squares, sum)
  for (int64_t k = 0; k < size; ++k) {
    squares += widen(x[k]) * widen(x[k]);
    sum += w[k] * widen(gradient[k]) * widen(x[k]);
  }
  const auto count = static_cast<Wide<T>>(size);
  const Wide<T> rstd = 1 / std::sqrt(squares / count + epsilon), scale = sum * rstd * rstd / count;
#pragma omp simd
  for (int64_t k = 0; k < size; ++k) {
    const Wide<T> dy = widen(gradient[k]);
    dw[k] += dy * widen(x[k]) * rstd;
    gradient[k] = narrow<T>(rstd * (w[k] * dy - widen(x[k]) * scale));
  }
}

}  // namespace

void head_norm_forward(Tensor qkv_TE, Tensor raw_TJ, const Tensor& w_K, HeadRange heads, double epsilon,
                       Stream& stream) {
  check("head_norm_forward", stream, qkv_TE, raw_TJ, w_K, heads);
  const int64_t tokens = qkv_TE.dim(0), row = qkv_TE.dim(1), raw_row = raw_TJ.dim(1), size = w_K.dim(0);
  const OpTimer timer(stream, "head_norm_forward", work_of(qkv_TE, w_K, heads));
  with_float_type("head_norm_forward", qkv_TE.dtype(), [&]<typename T>() {
    T *qkv = qkv_TE.as<T>(), *raw = raw_TJ.as<T>();
    const Wide<T>* w = w_K.as<Wide<T>>();
#pragma omp parallel for if (tokens * row >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t) {
      T* first = qkv + t * row + heads.begin * size;
      const int64_t values = (heads.end - heads.begin) * size;
      std::copy_n(first, values, raw + t * raw_row + heads.begin * size);
      for (T* head = first; head != first + values; head += size)
        normalise_row(head, head, w, size, static_cast<Wide<T>>(epsilon));
    }
  });
}

void head_norm_backward(Tensor dqkv_TE, Tensor dw_K, const Tensor& raw_TJ, const Tensor& w_K, HeadRange heads,
                        double epsilon, Stream& stream) {
  check("head_norm_backward", stream, dqkv_TE, raw_TJ, w_K, heads);
  expect_on_cpu("head_norm_backward", stream, {dw_K});
  expect_tensor("head_norm_backward", "dw", dw_K, w_K.dtype(), w_K.shape());
  const int64_t tokens = dqkv_TE.dim(0), row = dqkv_TE.dim(1), raw_row = raw_TJ.dim(1), size = w_K.dim(0);
  const int64_t blocks = (tokens + kTokenBlock - 1) / kTokenBlock;
  const OpTimer timer(stream, "head_norm_backward", work_of(dqkv_TE, w_K, heads));
  with_float_type("head_norm_backward", dqkv_TE.dtype(), [&]<typename T>() {
    T* dqkv = dqkv_TE.as<T>();
    Wide<T>*dw = dw_K.as<Wide<T>>(), *dw_of_block = thread_scratch<Wide<T>>(blocks * size);
    const T* raw = raw_TJ.as<T>();
    const Wide<T>* w = w_K.as<Wide<T>>();
    std::fill_n(dw_of_block, blocks * size, Wide<T>{0});
#pragma omp parallel for if (tokens * row >= kParallelElements)
    for (int64_t block = 0; block < blocks; ++block)
      for (int64_t t = block * kTokenBlock; t < std::min(tokens, (block + 1) * kTokenBlock); ++t)
        for (int64_t at = heads.begin * size; at < heads.end * size; at += size)
          backward_head(dqkv + t * row + at, dw_of_block + block * size, raw + t * raw_row + at, w, size,
                        static_cast<Wide<T>>(epsilon));
    for (int64_t block = 0; block < blocks; ++block)
      for (int64_t k = 0; k < size; ++k) dw[k] += dw_of_block[block * size + k];
  });
}

}  // namespace fern
