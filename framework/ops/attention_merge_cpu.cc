#include <algorithm>
#include <cmath>

#include "framework/ops/attention.h"
#include "framework/ops/checks.h"
#include "framework/ops/work.h"

namespace fern {

void attention_merge(Tensor o_TM, Tensor lse_HT, const Tensor& other_o_TM, const Tensor& other_lse_HT,
                     Stream& stream) {
  constexpr std::string_view op = "attention_merge";
  expect_on_cpu(op, stream, {o_TM, lse_HT, other_o_TM, other_lse_HT});
  expect_rank(op, "o", o_TM, 2);
  expect_rank(op, "lse", lse_HT, 2);
  const int64_t tokens = o_TM.dim(0), heads = lse_HT.dim(0), head_size = o_TM.dim(1) / heads;
  expect_tensor(op, "o", o_TM, o_TM.dtype(), {tokens, heads * head_size});
  expect_tensor(op, "other_o", other_o_TM, o_TM.dtype(), o_TM.shape());
  expect_tensor(op, "lse", lse_HT, wide_of(o_TM.dtype()), {heads, tokens});
  expect_tensor(op, "other_lse", other_lse_HT, lse_HT.dtype(), lse_HT.shape());
  const OpTimer timer(stream, op, touches({o_TM, o_TM, other_o_TM}));
  with_float_type(op, o_TM.dtype(), [&]<typename T>() {
    T* o = o_TM.as<T>();
    const T* other_o = other_o_TM.as<T>();
    Wide<T>* lse = lse_HT.as<Wide<T>>();
    const Wide<T>* other_lse = other_lse_HT.as<Wide<T>>();
#pragma omp parallel for if (o_TM.elements() >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t head = 0; head < heads; ++head) {
        const int64_t at = head * tokens + t, row = (t * heads + head) * head_size;
        const Wide<T> most = std::max(lse[at], other_lse[at]);
        const Wide<T> both = most + std::log(std::exp(lse[at] - most) + std::exp(other_lse[at] - most));
        const Wide<T> weight = std::exp(lse[at] - both), other_weight = std::exp(other_lse[at] - both);
#pragma omp simd
        for (int64_t k = row; k < row + head_size; ++k)
          o[k] = narrow<T>(weight * widen(o[k]) + other_weight * widen(other_o[k]));
        lse[at] = both;
      }
  });
}

}  // namespace fern
