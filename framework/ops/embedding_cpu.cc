#include <algorithm>

#include "framework/ops/checks.h"
#include "framework/ops/embedding.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

// Columns that one task adds up over all tokens: a few cache lines of each row.
constexpr int64_t kColumnBlock = 64;

void check_tensors(std::string_view op, const Stream& stream, const Tensor& x_TD, std::string_view x_name,
                   const Tensor& w_VD, std::string_view w_name, const Tensor& input_T) {
  expect_on_cpu(op, stream, {x_TD, w_VD, input_T});
  expect_rank(op, x_name, x_TD, 2);
  expect_rank(op, w_name, w_VD, 2);
  const DType w_dtype = w_VD.dtype() == x_TD.dtype() ? x_TD.dtype() : wide_of(x_TD.dtype());
  expect_tensor(op, w_name, w_VD, w_dtype, {w_VD.dim(0), x_TD.dim(1)});
  expect_tensor(op, "input", input_T, DType::kI32, {x_TD.dim(0)});
}

void check(std::string_view op, const Stream& stream, const Tensor& x_TD, std::string_view x_name,
           const Tensor& w_VD, std::string_view w_name, const Tensor& input_T) {
  check_tensors(op, stream, x_TD, x_name, w_VD, w_name, input_T);
  const int32_t* input = input_T.as<int32_t>();
  for (int64_t t = 0; t < input_T.dim(0); ++t)
    expect(0 <= input[t] && input[t] < w_VD.dim(0), "[{}] input[{}]: expected an id in 0..{}, got {}", op, t,
           w_VD.dim(0) - 1, input[t]);
}

// Calls body<X, W>() with the types of x and of the table: the same, or a wider one.
template <typename Body>
void with_types(std::string_view op, const Tensor& x_TD, const Tensor& w_VD, Body&& body) {
  with_float_type(op, x_TD.dtype(), [&]<typename X>() {
    if (w_VD.dtype() == x_TD.dtype())
      body.template operator()<X, X>();
    else
      body.template operator()<X, Wide<X>>();
  });
}

}  // namespace

void embedding_forward(Tensor x_TD, const Tensor& w_VD, const Tensor& input_T, Stream& stream) {
  check("embedding_forward", stream, x_TD, "x", w_VD, "w", input_T);
  embedding_forward_rows(x_TD, w_VD, input_T, 0, stream);
}

void embedding_forward_rows(Tensor x_TD, const Tensor& w_RD, const Tensor& input_T, int64_t first_row,
                            Stream& stream) {
  check_tensors("embedding_forward", stream, x_TD, "x", w_RD, "w", input_T);
  const int64_t tokens = x_TD.dim(0), hidden = x_TD.dim(1), rows = w_RD.dim(0);
  const OpTimer timer(stream, "embedding_forward", touches({x_TD, x_TD}));
  with_types("embedding_forward", x_TD, w_RD, [&]<typename X, typename W>() {
    X* x = x_TD.as<X>();
    const W* w = w_RD.as<W>();
    const int32_t* input = input_T.as<int32_t>();
#pragma omp parallel for if (tokens * hidden >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t row = input[t] - first_row;
      if (row < 0 || row >= rows) {
        std::fill_n(x + t * hidden, hidden, X{});
        continue;
      }
#pragma omp simd
      for (int64_t d = 0; d < hidden; ++d) x[t * hidden + d] = narrow<X>(widen(w[row * hidden + d]));
    }
  });
}

void embedding_backward(Tensor dw_VD, const Tensor& dx_TD, const Tensor& input_T, Stream& stream) {
  check("embedding_backward", stream, dx_TD, "dx", dw_VD, "dw", input_T);
  const int64_t tokens = dx_TD.dim(0), hidden = dx_TD.dim(1);
  const OpTimer timer(stream, "embedding_backward", touches({dx_TD, dx_TD, dx_TD}));
  with_types("embedding_backward", dx_TD, dw_VD, [&]<typename X, typename W>() {
    W* dw = dw_VD.as<W>();
    const X* dx = dx_TD.as<X>();
    const int32_t* input = input_T.as<int32_t>();
    // Tasks are columns, so two tokens with one id never meet.
#pragma omp parallel for if (tokens * hidden >= kParallelElements)
    for (int64_t begin = 0; begin < hidden; begin += kColumnBlock) {
      const int64_t end = std::min(hidden, begin + kColumnBlock);
      for (int64_t t = 0; t < tokens; ++t)
#pragma omp simd
        for (int64_t d = begin; d < end; ++d)
          dw[input[t] * hidden + d] =
              narrow<W>(widen(dw[input[t] * hidden + d]) + static_cast<Wide<W>>(widen(dx[t * hidden + d])));
    }
  });
}

}  // namespace fern
