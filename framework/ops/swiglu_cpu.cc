#include <numbers>

#include "framework/ops/checks.h"
#include "framework/ops/exp.h"
#include "framework/ops/simd_exp.h"
#include "framework/ops/simd_rows.h"
#include "framework/ops/swiglu.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

void check(std::string_view op, const Stream& stream, const Tensor& h_TF, std::string_view h_name,
           const Tensor& gate_up_T2F, std::string_view gate_up_name) {
  expect_on_cpu(op, stream, {h_TF, gate_up_T2F});
  expect_rank(op, h_name, h_TF, 2);
  expect_tensor(op, gate_up_name, gate_up_T2F, h_TF.dtype(), {h_TF.dim(0), 2 * h_TF.dim(1)});
}

// A weight of 1 leaves the bits alone.
template <typename T>
void forward_row(T* h, const T* gate, const T* up, Wide<T> weight, int64_t ffn) {
#pragma omp simd
  for (int64_t f = 0; f < ffn; ++f) {
    const Wide<T> g = widen(gate[f]);
    h[f] = narrow<T>(g / (1 + fast_exp(-g)) * widen(up[f]) * weight);
  }
}

// h dh, added up over the row, before its weight.
template <typename T>
Wide<T> weight_gradient(const T* dh, const T* gate, const T* up, int64_t ffn) {
  Wide<T> sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t f = 0; f < ffn; ++f) {
    const Wide<T> g = widen(gate[f]);
    sum += g / (1 + fast_exp(-g)) * widen(up[f]) * widen(dh[f]);
  }
  return sum;
}

template <typename T>
void backward_row(T* dgate, T* dup, const T* dh, const T* gate, const T* up, Wide<T> weight, int64_t ffn) {
#pragma omp simd
  for (int64_t f = 0; f < ffn; ++f) {
    const Wide<T> g = widen(gate[f]), u = widen(up[f]), d = widen(dh[f]) * weight;
    const Wide<T> sigmoid = 1 / (1 + fast_exp(-g));
    const Wide<T> silu = g * sigmoid;
    const Wide<T> dsilu = sigmoid + silu * (1 - sigmoid);
    dgate[f] = narrow<T>(d * u * dsilu);
    dup[f] = narrow<T>(d * silu);
  }
}

// The same three on bf16.

Vector<float> sigmoid(Vector<float> x) {
  const Vector<float> exponent = x * -std::numbers::log2e_v<float>, most = Vector<float>{} + 127.0F;
  return 1.0F / (1.0F + exp2(exponent > most ? most : exponent));
}

void forward_row(BF16* h, const BF16* gate, const BF16* up, float weight, int64_t ffn) {
  for_vectors<float>(ffn, [=](auto at) {
    const Vector<float> g = at.read(gate);
    at.write(h, g * sigmoid(g) * at.read(up) * weight);
  });
}

float weight_gradient(const BF16* dh, const BF16* gate, const BF16* up, int64_t ffn) {
  Vector<float> sum = {};
  for_vectors<float>(ffn, [=, &sum](auto at) {
    const Vector<float> g = at.read(gate);
    sum += g * sigmoid(g) * at.read(up) * at.read(dh);
  });
  return sum_of_lanes<float>(sum);
}

void backward_row(BF16* dgate, BF16* dup, const BF16* dh, const BF16* gate, const BF16* up, float weight,
                  int64_t ffn) {
  for_vectors<float>(ffn, [=](auto at) {
    const Vector<float> g = at.read(gate), d = at.read(dh) * weight;
    const Vector<float> s = sigmoid(g), silu = g * s;
    at.write(dgate, d * at.read(up) * (s + silu * (1.0F - s)));
    at.write(dup, d * silu);
  });
}

}  // namespace

void swiglu_forward(Tensor h_TF, const Tensor& gate_up_T2F, Stream& stream) {
  check("swiglu_forward", stream, h_TF, "h", gate_up_T2F, "gate_up");
  const int64_t tokens = h_TF.dim(0), ffn = h_TF.dim(1);
  const OpTimer timer(stream, "swiglu_forward", touches({h_TF, gate_up_T2F}));
  with_float_type("swiglu_forward", h_TF.dtype(), [&]<typename T>() {
    T* h = h_TF.as<T>();
    const T* gate_up = gate_up_T2F.as<T>();
#pragma omp parallel for if (tokens * ffn >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t)
      forward_row(h + t * ffn, gate_up + 2 * t * ffn, gate_up + (2 * t + 1) * ffn, Wide<T>{1}, ffn);
  });
}

void swiglu_backward(Tensor dgate_up_T2F, const Tensor& dh_TF, const Tensor& gate_up_T2F, Stream& stream) {
  check("swiglu_backward", stream, dh_TF, "dh", gate_up_T2F, "gate_up");
  check("swiglu_backward", stream, dh_TF, "dh", dgate_up_T2F, "dgate_up");
  const int64_t tokens = dh_TF.dim(0), ffn = dh_TF.dim(1);
  const OpTimer timer(stream, "swiglu_backward", touches({dgate_up_T2F, dh_TF, gate_up_T2F}));
  with_float_type("swiglu_backward", dh_TF.dtype(), [&]<typename T>() {
    T* dgate_up = dgate_up_T2F.as<T>();
    const T *dh = dh_TF.as<T>(), *gate_up = gate_up_T2F.as<T>();
#pragma omp parallel for if (tokens * ffn >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t gate = 2 * t * ffn, up = gate + ffn;
      backward_row(dgate_up + gate, dgate_up + up, dh + t * ffn, gate_up + gate, gate_up + up, Wide<T>{1},
                   ffn);
    }
  });
}

void weighted_swiglu_forward(Tensor h_RF, const Tensor& gate_up_R2F, const Tensor& weight_R, Stream& stream) {
  constexpr std::string_view kOp = "weighted_swiglu_forward";
  check(kOp, stream, h_RF, "h", gate_up_R2F, "gate_up");
  const int64_t rows = h_RF.dim(0), ffn = h_RF.dim(1);
  expect_tensor(kOp, "weight", weight_R, wide_of(h_RF.dtype()), {rows});
  const OpTimer timer(stream, kOp, touches({h_RF, gate_up_R2F}));
  with_float_type(kOp, h_RF.dtype(), [&]<typename T>() {
    T* h = h_RF.as<T>();
    const T* gate_up = gate_up_R2F.as<T>();
    const Wide<T>* weight = weight_R.as<Wide<T>>();
#pragma omp parallel for if (rows * ffn >= kParallelElements)
    for (int64_t r = 0; r < rows; ++r)
      forward_row(h + r * ffn, gate_up + 2 * r * ffn, gate_up + (2 * r + 1) * ffn, weight[r], ffn);
  });
}

void weighted_swiglu_backward(Tensor dgate_up_R2F, Tensor dweight_R, const Tensor& dh_RF,
                              const Tensor& gate_up_R2F, const Tensor& weight_R, Stream& stream) {
  constexpr std::string_view kOp = "weighted_swiglu_backward";
  check(kOp, stream, dh_RF, "dh", gate_up_R2F, "gate_up");
  check(kOp, stream, dh_RF, "dh", dgate_up_R2F, "dgate_up");
  const int64_t rows = dh_RF.dim(0), ffn = dh_RF.dim(1);
  expect_tensor(kOp, "weight", weight_R, wide_of(dh_RF.dtype()), {rows});
  expect_tensor(kOp, "dweight", dweight_R, wide_of(dh_RF.dtype()), {rows});
  const OpTimer timer(stream, kOp, touches({dgate_up_R2F, dh_RF, gate_up_R2F}));
  with_float_type(kOp, dh_RF.dtype(), [&]<typename T>() {
    T* dgate_up = dgate_up_R2F.as<T>();
    Wide<T>* dweight = dweight_R.as<Wide<T>>();
    const T *dh = dh_RF.as<T>(), *gate_up = gate_up_R2F.as<T>();
    const Wide<T>* weight = weight_R.as<Wide<T>>();
#pragma omp parallel for if (rows * ffn >= kParallelElements)
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t gate = 2 * r * ffn, up = gate + ffn;
      dweight[r] = weight_gradient(dh + r * ffn, gate_up + gate, gate_up + up, ffn);
      backward_row(dgate_up + gate, dgate_up + up, dh + r * ffn, gate_up + gate, gate_up + up, weight[r],
                   ffn);
    }
  });
}

}  // namespace fern
