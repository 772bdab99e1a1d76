#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "framework/ops/checks.h"
#include "framework/ops/cross_entropy.h"
#include "framework/ops/exp.h"
#include "framework/ops/scratch.h"
#include "framework/ops/simd_exp.h"
#include "framework/ops/simd_rows.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

// Terms added in the logits' own precision before the sum goes on in f64.
constexpr int64_t kSumBlock = 1024;
constexpr int64_t kStats = 3, kScales = 2;  // of a row

void check(std::string_view op, const Stream& stream, const Tensor& loss_C, const Tensor& logits_CV,
           const Tensor& target_C) {
  expect_on_cpu(op, stream, {loss_C, logits_CV, target_C});
  expect_rank(op, "logits", logits_CV, 2);
  const int64_t rows = logits_CV.dim(0), vocabulary = logits_CV.dim(1);
  expect_tensor(op, "loss", loss_C, DType::kF64, {rows});
  expect_tensor(op, "target", target_C, DType::kI32, {rows});
  const int32_t* target = target_C.as<int32_t>();
  for (int64_t c = 0; c < rows; ++c)
    expect(-1 <= target[c] && target[c] < vocabulary, "[{}] target[{}]: expected -1..{}, got {}", op, c,
           vocabulary - 1, target[c]);
}

template <typename T>
Wide<T> row_max(const T* row, int64_t vocabulary) {
  Wide<T> max = -std::numeric_limits<Wide<T>>::infinity();
#pragma omp simd reduction(max : max)
  for (int64_t v = 0; v < vocabulary; ++v) max = std::max(max, widen(row[v]));
  return max;
}

// Sum of exp(row - max).
template <typename T>
double exp_sum(const T* row, Wide<T> max, int64_t vocabulary) {
  double total = 0;
  for (int64_t begin = 0; begin < vocabulary; begin += kSumBlock) {
    const int64_t end = std::min(vocabulary, begin + kSumBlock);
    Wide<T> sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t v = begin; v < end; ++v) sum += fast_exp(widen(row[v]) - max);
    total += static_cast<double>(sum);
  }
  return total;
}

// The same, leaving the terms in `terms`, which may be the row.
template <typename T>
double exp_into(Wide<T>* terms, const T* row, Wide<T> max, int64_t vocabulary) {
  double total = 0;
  for (int64_t begin = 0; begin < vocabulary; begin += kSumBlock) {
    const int64_t end = std::min(vocabulary, begin + kSumBlock);
    Wide<T> sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t v = begin; v < end; ++v) {
      terms[v] = fast_exp(widen(row[v]) - max);
      sum += terms[v];
    }
    total += static_cast<double>(sum);
  }
  return total;
}

// On bf16, whose logits are so far from exact that an exponential of fewer operations does.
double exp_into(float* terms, const BF16* row, float max, int64_t vocabulary) {
  double total = 0;
  for (int64_t begin = 0; begin < vocabulary; begin += kSumBlock) {
    Vector<float> sum = {};
    for_vectors<float>(std::min(kSumBlock, vocabulary - begin), [=, &sum](auto at) {
      at.write(terms + begin, exp2((at.read(row + begin) - max) * std::numbers::log2e_v<float>));
      sum += at.read(terms + begin);
    });
    total += static_cast<double>(sum_of_lanes<float>(sum));
  }
  return total;
}

// Where a row's exponentials are kept until their sum is known: in the row, when it is wide enough.
template <typename T>
Wide<T>* terms_of(T* row, int64_t vocabulary) {
  if constexpr (std::is_same_v<T, Wide<T>>)
    return row;
  else
    return thread_scratch<Wide<T>>(vocabulary);
}

template <typename T>
double forward_row(const T* row, int32_t target, int64_t vocabulary) {
  const Wide<T> max = row_max(row, vocabulary);
  return std::log(exp_sum(row, max, vocabulary)) - static_cast<double>(widen(row[target]) - max);
}

template <typename T>
double forward_backward_row(T* row, int32_t target, Wide<T> weight, int64_t vocabulary) {
  const Wide<T> max = row_max(row, vocabulary);
  const Wide<T> target_logit = widen(row[target]) - max;
  Wide<T>* terms = terms_of(row, vocabulary);
  const double sum = exp_into(terms, row, max, vocabulary);
  const auto scale = static_cast<Wide<T>>(static_cast<double>(weight) / sum);
  const Wide<T> target_gradient = terms[target] * scale - weight;
  for_vectors<Wide<T>>(vocabulary, [=](auto at) { at.write(row, at.read(terms) * scale); });
  row[target] = narrow<T>(target_gradient);
  return std::log(sum) - static_cast<double>(target_logit);
}

template <typename T>
void backward_row(T* row, int32_t target, Wide<T> weight, int64_t vocabulary, Wide<T> max, double sum) {
  const auto scale = static_cast<Wide<T>>(static_cast<double>(weight) / sum);
  const bool here = 0 <= target && target < vocabulary;
  const Wide<T> target_gradient = here ? fast_exp(widen(row[target]) - max) * scale - weight : 0;
#pragma omp simd
  for (int64_t v = 0; v < vocabulary; ++v) row[v] = narrow<T>(fast_exp(widen(row[v]) - max) * scale);
  if (here) row[target] = narrow<T>(target_gradient);
}

}  // namespace

void cross_entropy_forward(Tensor loss_C, const Tensor& logits_CV, const Tensor& target_C, Stream& stream) {
  check("cross_entropy_forward", stream, loss_C, logits_CV, target_C);
  const int64_t rows = logits_CV.dim(0), vocabulary = logits_CV.dim(1);
  const OpTimer timer(stream, "cross_entropy_forward", touches({logits_CV}));
  with_float_type("cross_entropy_forward", logits_CV.dtype(), [&]<typename T>() {
    double* loss = loss_C.as<double>();
    const T* logits = logits_CV.as<T>();
    const int32_t* target = target_C.as<int32_t>();
#pragma omp parallel for if (rows * vocabulary >= kParallelElements)
    for (int64_t c = 0; c < rows; ++c)
      loss[c] = target[c] < 0 ? 0.0 : forward_row(logits + c * vocabulary, target[c], vocabulary);
  });
}

void cross_entropy_forward_backward(Tensor loss_C, Tensor logits_CV, const Tensor& target_C,
                                    const Tensor& weight_C, Stream& stream) {
  check("cross_entropy_forward_backward", stream, loss_C, logits_CV, target_C);
  expect_on_cpu("cross_entropy_forward_backward", stream, {weight_C});
  const int64_t rows = logits_CV.dim(0), vocabulary = logits_CV.dim(1);
  expect_tensor("cross_entropy_forward_backward", "weight", weight_C, wide_of(logits_CV.dtype()), {rows});
  const OpTimer timer(stream, "cross_entropy_forward_backward", touches({logits_CV, logits_CV}));
  with_float_type("cross_entropy_forward_backward", logits_CV.dtype(), [&]<typename T>() {
    double* loss = loss_C.as<double>();
    T* logits = logits_CV.as<T>();
    const Wide<T>* weight = weight_C.as<Wide<T>>();
    const int32_t* target = target_C.as<int32_t>();
#pragma omp parallel for if (rows * vocabulary >= kParallelElements)
    for (int64_t c = 0; c < rows; ++c) {
      T* row = logits + c * vocabulary;
      loss[c] = target[c] < 0 ? 0.0 : forward_backward_row(row, target[c], weight[c], vocabulary);
      if (target[c] < 0) std::fill_n(row, vocabulary, narrow<T>(0));
    }
  });
}

void cross_entropy_stats(Tensor stats_C3, const Tensor& logits_CV, const Tensor& target_C, Stream& stream) {
  expect_on_cpu("cross_entropy_stats", stream, {stats_C3, logits_CV, target_C});
  expect_rank("cross_entropy_stats", "logits", logits_CV, 2);
  const int64_t rows = logits_CV.dim(0), vocabulary = logits_CV.dim(1);
  expect_tensor("cross_entropy_stats", "stats", stats_C3, DType::kF64, {rows, kStats});
  expect_tensor("cross_entropy_stats", "target", target_C, DType::kI32, {rows});
  const OpTimer timer(stream, "cross_entropy_stats", touches({logits_CV}));
  with_float_type("cross_entropy_stats", logits_CV.dtype(), [&]<typename T>() {
    const int32_t* target = target_C.as<int32_t>();
#pragma omp parallel for if (rows * vocabulary >= kParallelElements)
    for (int64_t c = 0; c < rows; ++c) {
      const T* row = logits_CV.as<T>() + c * vocabulary;
      const Wide<T> max = row_max(row, vocabulary);
      double* stats = stats_C3.as<double>() + c * kStats;
      stats[0] = static_cast<double>(max);
      stats[1] = exp_sum(row, max, vocabulary);
      const bool here = 0 <= target[c] && target[c] < vocabulary;
      stats[2] = here ? static_cast<double>(widen(row[target[c]])) : 0;
    }
  });
}

void cross_entropy_join(Tensor loss_C, Tensor scale_C2, const Tensor& stats_NC3, Stream& stream) {
  expect_on_cpu("cross_entropy_join", stream, {loss_C, scale_C2, stats_NC3});
  expect_rank("cross_entropy_join", "stats", stats_NC3, 3);
  const int64_t ranks = stats_NC3.dim(0), rows = stats_NC3.dim(1);
  expect_tensor("cross_entropy_join", "stats", stats_NC3, DType::kF64, {ranks, rows, kStats});
  expect_tensor("cross_entropy_join", "loss", loss_C, DType::kF64, {rows});
  expect_tensor("cross_entropy_join", "scale", scale_C2, DType::kF64, {rows, kScales});
  const OpTimer timer(stream, "cross_entropy_join", touches({stats_NC3}));
  for (int64_t c = 0; c < rows; ++c) {
    const auto stats = [&](int64_t rank) { return stats_NC3.as<double>() + (rank * rows + c) * kStats; };
    double max = stats(0)[0], sum = 0, target = 0;
    for (int64_t rank = 1; rank < ranks; ++rank) max = std::max(max, stats(rank)[0]);
    for (int64_t rank = 0; rank < ranks; ++rank) {
      sum += stats(rank)[1] * std::exp(stats(rank)[0] - max);
      target += stats(rank)[2];
    }
    scale_C2.as<double>()[c * kScales] = max;
    scale_C2.as<double>()[c * kScales + 1] = sum;
    loss_C.as<double>()[c] = std::log(sum) - (target - max);
  }
}

void cross_entropy_backward(Tensor logits_CV, const Tensor& scale_C2, const Tensor& target_C,
                            const Tensor& weight_C, Stream& stream) {
  expect_on_cpu("cross_entropy_backward", stream, {logits_CV, scale_C2, target_C, weight_C});
  expect_rank("cross_entropy_backward", "logits", logits_CV, 2);
  const int64_t rows = logits_CV.dim(0), vocabulary = logits_CV.dim(1);
  expect_tensor("cross_entropy_backward", "scale", scale_C2, DType::kF64, {rows, kScales});
  expect_tensor("cross_entropy_backward", "target", target_C, DType::kI32, {rows});
  expect_tensor("cross_entropy_backward", "weight", weight_C, wide_of(logits_CV.dtype()), {rows});
  const OpTimer timer(stream, "cross_entropy_backward", touches({logits_CV, logits_CV}));
  with_float_type("cross_entropy_backward", logits_CV.dtype(), [&]<typename T>() {
    const int32_t* target = target_C.as<int32_t>();
    const double* scale = scale_C2.as<double>();
#pragma omp parallel for if (rows * vocabulary >= kParallelElements)
    for (int64_t c = 0; c < rows; ++c)
      backward_row(logits_CV.as<T>() + c * vocabulary, target[c], weight_C.as<Wide<T>>()[c], vocabulary,
                   static_cast<Wide<T>>(scale[c * kScales]), scale[c * kScales + 1]);
  });
}

}  // namespace fern
