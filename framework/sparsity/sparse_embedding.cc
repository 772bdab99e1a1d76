#include "framework/sparsity/sparse_embedding.h"

#include <omp.h>

#include <algorithm>

#include "framework/core/bf16.h"
#include "framework/core/error.h"
#include "framework/ops/checks.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

constexpr int64_t kColumnBlock = 64;

// Calls visit(column, index of the value) for the weights of one row, if it is one of the pattern's.
template <typename Visit>
void for_each_of_row(const Pattern& pattern, int64_t row, const Visit& visit) {
  if (row < 0 || row >= pattern.rows()) return;
  const BlockShape block = pattern.block();
  const int64_t block_row = row / block.rows;
  int64_t value = pattern.row_begin()[static_cast<size_t>(block_row)] * block.elements() +
                  row % block.rows * block.columns;
  for (const uint16_t c : pattern.row(block_row)) {
    for (int64_t j = 0; j < block.columns; ++j) visit(c * block.columns + j, value + j);
    value += block.elements();
  }
}

void check(std::string_view op, const Stream& stream, const Tensor& x_TD, const Tensor& values_N,
           const Pattern& pattern, const Tensor& input_T) {
  expect_on_cpu(op, stream, {x_TD, values_N, input_T});
  expect_rank(op, "x", x_TD, 2);
  expect_tensor(op, "x", x_TD, x_TD.dtype(), {x_TD.dim(0), pattern.columns()});
  expect_tensor(op, "values", values_N, wide_of(x_TD.dtype()), {pattern.nonzeros()});
  expect_tensor(op, "input", input_T, DType::kI32, {x_TD.dim(0)});
}

}  // namespace

void expect_ids(const Tensor& input_T, int64_t vocabulary) {
  const int32_t* input = input_T.as<int32_t>();
  for (int64_t t = 0; t < input_T.dim(0); ++t)
    expect(0 <= input[t] && input[t] < vocabulary, "[embedding] input[{}]: expected an id in 0..{}, got {}",
           t, vocabulary - 1, input[t]);
}

void sparse_embedding_forward(Tensor x_TD, const Tensor& values_N, const Pattern& pattern,
                              const Tensor& input_T, int64_t first_row, Stream& stream) {
  check("sparse_embedding_forward", stream, x_TD, values_N, pattern, input_T);
  const OpTimer timer(stream, "sparse_embedding_forward", touches({x_TD}));
  with_float_type("sparse_embedding_forward", x_TD.dtype(), [&]<typename T>() {
    const int64_t tokens = x_TD.dim(0), hidden = x_TD.dim(1);
    const Wide<T>* values = values_N.as<Wide<T>>();
#pragma omp parallel for if (tokens * hidden >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t) {
      T* x = x_TD.as<T>() + t * hidden;
      std::fill_n(x, hidden, T{});
      for_each_of_row(pattern, input_T.as<int32_t>()[t] - first_row,
                      [&](int64_t column, int64_t value) { x[column] = narrow<T>(values[value]); });
    }
  });
}

void sparse_embedding_backward(Tensor dvalues_N, const Tensor& dx_TD, const Pattern& pattern,
                               const Tensor& input_T, int64_t first_row, Stream& stream) {
  check("sparse_embedding_backward", stream, dx_TD, dvalues_N, pattern, input_T);
  const OpTimer timer(stream, "sparse_embedding_backward", touches({dx_TD}));
  with_float_type("sparse_embedding_backward", dx_TD.dtype(), [&]<typename T>() {
    const int64_t tokens = dx_TD.dim(0), hidden = dx_TD.dim(1);
    Wide<T>* dvalues = dvalues_N.as<Wide<T>>();
    const int32_t* input = input_T.as<int32_t>();
    // Each thread has ids of its own, so two tokens with one id never meet.
#pragma omp parallel if (tokens * hidden >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t) {
      if (input[t] % omp_get_num_threads() != omp_get_thread_num()) continue;
      const T* dx = dx_TD.as<T>() + t * hidden;
      for_each_of_row(pattern, input[t] - first_row,
                      [&](int64_t column, int64_t value) { dvalues[value] += widen(dx[column]); });
    }
  });
}

void embedding_backward_rows(Tensor gradient_RD, const Tensor& dx_TD, const Tensor& input_T,
                             int64_t first_row, Stream& stream) {
  expect_on_cpu("embedding_backward_rows", stream, {gradient_RD, dx_TD, input_T});
  expect_tensor("embedding_backward_rows", "gradient", gradient_RD, wide_of(dx_TD.dtype()),
                {gradient_RD.dim(0), dx_TD.dim(1)});
  expect_tensor("embedding_backward_rows", "input", input_T, DType::kI32, {dx_TD.dim(0)});
  const OpTimer timer(stream, "embedding_backward_rows", touches({dx_TD}));
  with_float_type("embedding_backward_rows", dx_TD.dtype(), [&]<typename T>() {
    const int64_t tokens = dx_TD.dim(0), hidden = dx_TD.dim(1), rows = gradient_RD.dim(0);
    Wide<T>* gradient = gradient_RD.as<Wide<T>>();
    // Tasks are columns, so two tokens with one id never meet.
#pragma omp parallel for if (tokens * hidden >= kParallelElements)
    for (int64_t begin = 0; begin < hidden; begin += kColumnBlock)
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t row = input_T.as<int32_t>()[t] - first_row;
        if (row < 0 || row >= rows) continue;
        for (int64_t d = begin; d < std::min(hidden, begin + kColumnBlock); ++d)
          gradient[row * hidden + d] += widen(dx_TD.as<T>()[t * hidden + d]);
      }
  });
}

}  // namespace fern
