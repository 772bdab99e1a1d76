#include <algorithm>
#include <cmath>

#include "framework/ops/checks.h"
#include "framework/ops/token_permutation.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

constexpr int64_t kColumnBlock = 64;

struct Sizes {
  int64_t tokens, active, rows, hidden;
};

Sizes checked(std::string_view op, const Stream& stream, const Tensor& rows_RD, const Tensor& x_TD,
              const TokenPermutation& permutation) {
  expect_on_cpu(op, stream, {rows_RD, x_TD, permutation.row_TK});
  expect_rank(op, "x", x_TD, 2);
  expect_rank(op, "row", permutation.row_TK, 2);
  const Sizes sizes = {x_TD.dim(0), permutation.row_TK.dim(1), permutation.rows(), x_TD.dim(1)};
  expect_tensor(op, "row", permutation.row_TK, DType::kI32, {sizes.tokens, sizes.active});
  expect_tensor(op, "rows", rows_RD, x_TD.dtype(), {sizes.rows, sizes.hidden});
  return sizes;
}

}  // namespace

int64_t TokenPermutation::rows() const {
  return static_cast<int64_t>(first_E1.as<int32_t>()[first_E1.dim(0) - 1]);
}

TokenPermutation TokenPermutation::first(int64_t tokens) const {
  return {first_E1, choice_TK.rows(0, tokens), row_TK.rows(0, tokens)};
}

int64_t expert_capacity(double factor, int64_t tokens, int64_t active, int64_t experts) {
  if (factor == 0) return tokens;
  const double share = factor * static_cast<double>(tokens * active) / static_cast<double>(experts);
  return static_cast<int64_t>(std::min(static_cast<double>(tokens), std::ceil(share)));
}

void permute_tokens(const TokenPermutation& out, const Tensor& expert_TK, int64_t capacity, Stream& stream) {
  constexpr std::string_view kOp = "permute_tokens";
  expect_on_cpu(kOp, stream, {out.first_E1, out.choice_TK, out.row_TK, expert_TK});
  expect_rank(kOp, "expert", expert_TK, 2);
  expect_rank(kOp, "first", out.first_E1, 1);
  for (const Tensor& tensor : {expert_TK, out.choice_TK, out.row_TK})
    expect_tensor(kOp, "expert, choice and row", tensor, DType::kI32, expert_TK.shape());
  const OpTimer timer(stream, kOp, touches({out.choice_TK, out.row_TK, expert_TK}));
  const int64_t choices = expert_TK.elements(), experts = out.first_E1.dim(0) - 1;
  const auto most = static_cast<int32_t>(std::min(capacity, choices));
  const int32_t* expert = expert_TK.as<int32_t>();
  int32_t *first = out.first_E1.as<int32_t>(), *choice = out.choice_TK.as<int32_t>(),
          *row = out.row_TK.as<int32_t>();
  std::fill_n(first, experts + 1, 0);
  for (int64_t i = 0; i < choices; ++i) {
    expect(-1 <= expert[i] && expert[i] < experts, "[{}] choice {}: expected an expert in -1..{}, got {}",
           kOp, i, experts - 1, expert[i]);
    // Its place among the rows of its expert.
    row[i] = expert[i] < 0 || first[expert[i] + 1] == most ? -1 : first[expert[i] + 1]++;
  }
  for (int64_t e = 0; e < experts; ++e) first[e + 1] += first[e];
  for (int64_t i = 0; i < choices; ++i) {
    if (row[i] < 0) continue;
    row[i] += first[expert[i]];
    choice[row[i]] = static_cast<int32_t>(i);
  }
}

void gather_rows(Tensor rows_RD, const Tensor& x_TD, const TokenPermutation& permutation, Stream& stream) {
  const auto [tokens, active, rows, hidden] = checked("gather_rows", stream, rows_RD, x_TD, permutation);
  const OpTimer timer(stream, "gather_rows", touches({rows_RD, rows_RD}));
  with_float_type("gather_rows", x_TD.dtype(), [&]<typename T>() {
    const T* x = x_TD.as<T>();
    T* to = rows_RD.as<T>();
    const int32_t* choice = permutation.choice_TK.as<int32_t>();
#pragma omp parallel for if (rows * hidden >= kParallelElements)
    for (int64_t r = 0; r < rows; ++r) std::copy_n(x + choice[r] / active * hidden, hidden, to + r * hidden);
  });
}

void gather_gates(Tensor gate_R, const Tensor& gate_TK, const TokenPermutation& permutation, Stream& stream) {
  constexpr std::string_view kOp = "gather_gates";
  expect_on_cpu(kOp, stream, {gate_R, gate_TK});
  expect_tensor(kOp, "gate of rows", gate_R, gate_TK.dtype(), {permutation.rows()});
  expect_tensor(kOp, "gate", gate_TK, gate_TK.dtype(), permutation.row_TK.shape());
  const OpTimer timer(stream, kOp, touches({gate_R, gate_TK}));
  with_wide_type(kOp, gate_TK.dtype(), [&]<typename T>() {
    const T* gate = gate_TK.as<T>();
    std::transform(permutation.choice_TK.as<int32_t>(), permutation.choice_TK.as<int32_t>() + gate_R.dim(0),
                   gate_R.as<T>(), [&](int32_t choice) { return gate[choice]; });
  });
}

void scatter_gates(Tensor dgate_TK, const Tensor& dgate_R, const TokenPermutation& permutation,
                   Stream& stream) {
  constexpr std::string_view kOp = "scatter_gates";
  expect_on_cpu(kOp, stream, {dgate_TK, dgate_R});
  expect_tensor(kOp, "dgate of rows", dgate_R, dgate_TK.dtype(), {permutation.rows()});
  expect_tensor(kOp, "dgate", dgate_TK, dgate_TK.dtype(), permutation.row_TK.shape());
  const OpTimer timer(stream, kOp, touches({dgate_R, dgate_TK}));
  with_wide_type(kOp, dgate_TK.dtype(), [&]<typename T>() {
    const T* dgate = dgate_R.as<T>();
    std::ranges::transform(permutation.row_TK.values<int32_t>(), dgate_TK.as<T>(),
                           [&](int32_t row) { return row < 0 ? T{0} : dgate[row]; });
  });
}

void combine_rows(Tensor y_TD, const Tensor& rows_RD, const TokenPermutation& permutation, bool accumulate,
                  Stream& stream) {
  const auto [tokens, active, rows, hidden] = checked("combine_rows", stream, rows_RD, y_TD, permutation);
  const OpTimer timer(stream, "combine_rows", touches({rows_RD, y_TD}));
  with_float_type("combine_rows", y_TD.dtype(), [&]<typename T>() {
    T* y = y_TD.as<T>();
    const T* from = rows_RD.as<T>();
    const int32_t* row = permutation.row_TK.as<int32_t>();
#pragma omp parallel for if (tokens * hidden >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t begin = 0; begin < hidden; begin += kColumnBlock) {
        const int64_t size = std::min(kColumnBlock, hidden - begin);
        T* out = y + t * hidden + begin;
        Wide<T> sum[kColumnBlock] = {};
        for (int64_t d = 0; accumulate && d < size; ++d) sum[d] = widen(out[d]);
        for (int64_t k = 0; k < active; ++k) {
          if (row[t * active + k] < 0) continue;
          const T* part = from + row[t * active + k] * hidden + begin;
#pragma omp simd
          for (int64_t d = 0; d < size; ++d) sum[d] += widen(part[d]);
        }
        for (int64_t d = 0; d < size; ++d) out[d] = narrow<T>(sum[d]);
      }
  });
}

}  // namespace fern
