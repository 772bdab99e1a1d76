#include "framework/ops/checks.h"
#include "framework/ops/exp.h"
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

template <typename T>
void forward_row(T* h, const T* gate, const T* up, int64_t ffn) {
#pragma omp simd
  for (int64_t f = 0; f < ffn; ++f) {
    const Wide<T> g = widen(gate[f]);
    h[f] = narrow<T>(g / (1 + fast_exp(-g)) * widen(up[f]));
  }
}

template <typename T>
void backward_row(T* dgate, T* dup, const T* dh, const T* gate, const T* up, int64_t ffn) {
#pragma omp simd
  for (int64_t f = 0; f < ffn; ++f) {
    const Wide<T> g = widen(gate[f]), u = widen(up[f]), d = widen(dh[f]);
    const Wide<T> sigmoid = 1 / (1 + fast_exp(-g));
    const Wide<T> silu = g * sigmoid;
    const Wide<T> dsilu = sigmoid + silu * (1 - sigmoid);
    dgate[f] = narrow<T>(d * u * dsilu);
    dup[f] = narrow<T>(d * silu);
  }
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
      forward_row(h + t * ffn, gate_up + 2 * t * ffn, gate_up + (2 * t + 1) * ffn, ffn);
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
      backward_row(dgate_up + gate, dgate_up + up, dh + t * ffn, gate_up + gate, gate_up + up, ffn);
    }
  });
}

}  // namespace fern
