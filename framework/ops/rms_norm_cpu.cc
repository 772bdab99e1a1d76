#include <algorithm>

#include "framework/ops/checks.h"
#include "framework/ops/norm_row.h"
#include "framework/ops/rms_norm.h"
#include "framework/ops/simd_exp.h"
#include "framework/ops/simd_rows.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

// Columns of dw that one task sums over all tokens: a few cache lines of each row.
constexpr int64_t kColumnBlock = 64;

void check(std::string_view op, const Stream& stream, const Tensor& x_TD, const Tensor& other_TD,
           std::string_view other_name, const Tensor& rstd_T, const Tensor& w_D) {
  expect_on_cpu(op, stream, {x_TD, other_TD, rstd_T, w_D});
  expect_rank(op, "x", x_TD, 2);
  expect_tensor(op, other_name, other_TD, x_TD.dtype(), x_TD.shape());
  expect_tensor(op, "rstd", rstd_T, wide_of(x_TD.dtype()), {x_TD.dim(0)});
  expect_tensor(op, "w", w_D, wide_of(x_TD.dtype()), {x_TD.dim(1)});
}

template <typename T>
void backward_row(T* dx, const T* dy, const T* x, Wide<T> rstd, const Wide<T>* w, int64_t hidden) {
  Wide<T> sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t d = 0; d < hidden; ++d) sum += w[d] * widen(dy[d]) * widen(x[d]);
  const Wide<T> scale = sum * rstd * rstd / static_cast<Wide<T>>(hidden);
#pragma omp simd
  for (int64_t d = 0; d < hidden; ++d)
    dx[d] = narrow<T>(widen(dx[d]) + rstd * (w[d] * widen(dy[d]) - widen(x[d]) * scale));
}

// The same on bf16, in vectors.
void backward_row(BF16* dx, const BF16* dy, const BF16* x, float rstd, const float* w, int64_t hidden) {
  Vector<float> sum = {};
  for_vectors<float>(hidden, [&](auto at) { sum += at.read(w) * at.read(dy) * at.read(x); });
  const float scale = sum_of_lanes<float>(sum) * rstd * rstd / static_cast<float>(hidden);
  for_vectors<float>(hidden, [=](auto at) {
    at.write(dx, at.read(dx) + rstd * (at.read(w) * at.read(dy) - at.read(x) * scale));
  });
}

}  // namespace

void rms_norm_forward(Tensor y_TD, Tensor rstd_T, const Tensor& x_TD, const Tensor& w_D, double epsilon,
                      Stream& stream) {
  check("rms_norm_forward", stream, x_TD, y_TD, "y", rstd_T, w_D);
  const int64_t tokens = x_TD.dim(0), hidden = x_TD.dim(1);
  const OpTimer timer(stream, "rms_norm_forward", touches({y_TD, x_TD}));
  with_float_type("rms_norm_forward", x_TD.dtype(), [&]<typename T>() {
    T* y = y_TD.as<T>();
    Wide<T>* rstd = rstd_T.as<Wide<T>>();
    const T* x = x_TD.as<T>();
    const Wide<T>* w = w_D.as<Wide<T>>();
#pragma omp parallel for if (tokens * hidden >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t)
      rstd[t] = normalise_row(y + t * hidden, x + t * hidden, w, hidden, static_cast<Wide<T>>(epsilon));
  });
}

void add_rms_norm_forward(Tensor y_TD, Tensor x_TD, Tensor rstd_T, const Tensor& a_TD, const Tensor& b_TD,
                          const Tensor& w_D, double epsilon, Stream& stream) {
  check("add_rms_norm_forward", stream, x_TD, y_TD, "y", rstd_T, w_D);
  check("add_rms_norm_forward", stream, x_TD, a_TD, "a", rstd_T, w_D);
  check("add_rms_norm_forward", stream, x_TD, b_TD, "b", rstd_T, w_D);
  const int64_t tokens = x_TD.dim(0), hidden = x_TD.dim(1);
  const OpTimer timer(stream, "add_rms_norm_forward", touches({y_TD, x_TD, a_TD, b_TD}));
  with_float_type("add_rms_norm_forward", x_TD.dtype(), [&]<typename T>() {
    T *y = y_TD.as<T>(), *x = x_TD.as<T>();
    Wide<T>* rstd = rstd_T.as<Wide<T>>();
    const T *a = a_TD.as<T>(), *b = b_TD.as<T>();
    const Wide<T>* w = w_D.as<Wide<T>>();
#pragma omp parallel for if (tokens * hidden >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t row = t * hidden;
      for_vectors<Wide<T>>(hidden, [&](auto at) { at.write(x + row, at.read(a + row) + at.read(b + row)); });
      rstd[t] = normalise_row(y + row, x + row, w, hidden, static_cast<Wide<T>>(epsilon));
    }
  });
}

void add_residual(Tensor x_TD, const Tensor& b_TD, Stream& stream) {
  expect_on_cpu("add_residual", stream, {x_TD, b_TD});
  expect_tensor("add_residual", "b", b_TD, x_TD.dtype(), x_TD.shape());
  const OpTimer timer(stream, "add_residual", touches({x_TD, x_TD, b_TD}));
  with_float_type("add_residual", x_TD.dtype(), [&]<typename T>() {
    T* x = x_TD.as<T>();
    const T* b = b_TD.as<T>();
    const int64_t elements = x_TD.elements();
#pragma omp parallel for simd if (parallel : elements >= kParallelElements)
    for (int64_t i = 0; i < elements; ++i) x[i] = narrow<T>(widen(x[i]) + widen(b[i]));
  });
}

void rms_norm_backward(Tensor dx_TD, Tensor dw_D, const Tensor& dy_TD, const Tensor& x_TD,
                       const Tensor& rstd_T, const Tensor& w_D, Stream& stream) {
  check("rms_norm_backward", stream, x_TD, dx_TD, "dx", rstd_T, w_D);
  check("rms_norm_backward", stream, x_TD, dy_TD, "dy", rstd_T, w_D);
  expect_on_cpu("rms_norm_backward", stream, {dw_D});
  expect_tensor("rms_norm_backward", "dw", dw_D, wide_of(x_TD.dtype()), w_D.shape());
  const int64_t tokens = x_TD.dim(0), hidden = x_TD.dim(1);
  const OpTimer timer(stream, "rms_norm_backward", touches({dx_TD, dx_TD, dy_TD, x_TD}));
  with_float_type("rms_norm_backward", x_TD.dtype(), [&]<typename T>() {
    T* dx = dx_TD.as<T>();
    Wide<T>* dw = dw_D.as<Wide<T>>();
    const T *dy = dy_TD.as<T>(), *x = x_TD.as<T>();
    const Wide<T>*rstd = rstd_T.as<Wide<T>>(), *w = w_D.as<Wide<T>>();
    // dw first: dx may be dy.
#pragma omp parallel for if (tokens * hidden >= kParallelElements)
    for (int64_t begin = 0; begin < hidden; begin += kColumnBlock) {
      const int64_t end = std::min(hidden, begin + kColumnBlock);
      for (int64_t t = 0; t < tokens; ++t)
#pragma omp simd
        for (int64_t d = begin; d < end; ++d)
          dw[d] += widen(dy[t * hidden + d]) * widen(x[t * hidden + d]) * rstd[t];
    }
#pragma omp parallel for if (tokens * hidden >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t)
      backward_row(dx + t * hidden, dy + t * hidden, x + t * hidden, rstd[t], w, hidden);
  });
}

}  // namespace fern
