// The router's products. Its matrix is small, and its sums go in one fixed order whatever the type of the
// activations.
#include <algorithm>

#include "framework/ops/checks.h"
#include "framework/ops/routing.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

// Columns that one task takes at a time: a few cache lines.
constexpr int64_t kColumnBlock = 64;

struct Sizes {
  int64_t tokens, experts, hidden;
  bool is_large() const { return tokens * experts * hidden >= kParallelElements; }
};

Sizes checked(std::string_view op, const Stream& stream, const Tensor& logits_TE, const Tensor& n_TD,
              const Tensor& w_ED) {
  expect_on_cpu(op, stream, {logits_TE, n_TD, w_ED});
  expect_rank(op, "n", n_TD, 2);
  expect_rank(op, "w", w_ED, 2);
  const Sizes sizes = {n_TD.dim(0), w_ED.dim(0), n_TD.dim(1)};
  expect_tensor(op, "logits", logits_TE, wide_of(n_TD.dtype()), {sizes.tokens, sizes.experts});
  expect_tensor(op, "w", w_ED, wide_of(n_TD.dtype()), {sizes.experts, sizes.hidden});
  return sizes;
}

}  // namespace

void router_forward(Tensor logits_TE, const Tensor& n_TD, const Tensor& w_ED, Stream& stream) {
  const Sizes sizes = checked("router_forward", stream, logits_TE, n_TD, w_ED);
  const auto [tokens, experts, hidden] = sizes;
  const OpTimer timer(stream, "router_forward", product_work(logits_TE, n_TD, w_ED.bytes()));
  with_float_type("router_forward", n_TD.dtype(), [&]<typename T>() {
    const T* n = n_TD.as<T>();
    const Wide<T>* w = w_ED.as<Wide<T>>();
    Wide<T>* logits = logits_TE.as<Wide<T>>();
#pragma omp parallel for if (sizes.is_large())
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t e = 0; e < experts; ++e) {
        Wide<T> sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t d = 0; d < hidden; ++d) sum += widen(n[t * hidden + d]) * w[e * hidden + d];
        logits[t * experts + e] = sum;
      }
  });
}

void router_backward_weight(Tensor dw_ED, const Tensor& dlogits_TE, const Tensor& n_TD, Stream& stream) {
  const Sizes sizes = checked("router_backward_weight", stream, dlogits_TE, n_TD, dw_ED);
  const auto [tokens, experts, hidden] = sizes;
  const OpTimer timer(stream, "router_backward_weight", product_work(dlogits_TE, n_TD, dw_ED.bytes()));
  with_float_type("router_backward_weight", n_TD.dtype(), [&]<typename T>() {
    const T* n = n_TD.as<T>();
    const Wide<T>* dlogits = dlogits_TE.as<Wide<T>>();
    Wide<T>* dw = dw_ED.as<Wide<T>>();
    // Tasks are columns, so that each sum is one task's.
#pragma omp parallel for if (sizes.is_large())
    for (int64_t begin = 0; begin < hidden; begin += kColumnBlock) {
      const int64_t end = std::min(hidden, begin + kColumnBlock);
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t e = 0; e < experts; ++e) {
          const Wide<T> d_logit = dlogits[t * experts + e];
#pragma omp simd
          for (int64_t d = begin; d < end; ++d) dw[e * hidden + d] += d_logit * widen(n[t * hidden + d]);
        }
    }
  });
}

void router_backward_input(Tensor dn_TD, const Tensor& dlogits_TE, const Tensor& w_ED, Stream& stream) {
  const Sizes sizes = checked("router_backward_input", stream, dlogits_TE, dn_TD, w_ED);
  const auto [tokens, experts, hidden] = sizes;
  const OpTimer timer(stream, "router_backward_input", product_work(dlogits_TE, dn_TD, w_ED.bytes()));
  with_float_type("router_backward_input", dn_TD.dtype(), [&]<typename T>() {
    T* dn = dn_TD.as<T>();
    const Wide<T>* dlogits = dlogits_TE.as<Wide<T>>();
    const Wide<T>* w = w_ED.as<Wide<T>>();
#pragma omp parallel for if (sizes.is_large())
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t begin = 0; begin < hidden; begin += kColumnBlock) {
        const int64_t end = std::min(hidden, begin + kColumnBlock);
        Wide<T> sum[kColumnBlock];
        for (int64_t d = begin; d < end; ++d) sum[d - begin] = widen(dn[t * hidden + d]);
        for (int64_t e = 0; e < experts; ++e) {
          const Wide<T> d_logit = dlogits[t * experts + e];
#pragma omp simd
          for (int64_t d = begin; d < end; ++d) sum[d - begin] += d_logit * w[e * hidden + d];
        }
        for (int64_t d = begin; d < end; ++d) dn[t * hidden + d] = narrow<T>(sum[d - begin]);
      }
  });
}

}  // namespace fern
