// What ops ask of the machine, for the profile: cheap enough to be computed without one.
#pragma once

#include <initializer_list>

#include "framework/core/profile.h"
#include "framework/core/tensor.h"

namespace fern {

// Of an op that is limited by memory: it reads or writes each of the tensors once.
inline OpWork touches(std::initializer_list<Tensor> tensors) {
  OpWork work;
  for (const Tensor& tensor : tensors) work.bytes += static_cast<double>(tensor.bytes());
  return work;
}

// Of any of the three products of a linear layer with an [outputs, inputs] weight, `weight_bytes` as it is
// read.
inline OpWork product_work(const Tensor& y_TO, const Tensor& x_TI, size_t weight_bytes, int64_t outputs) {
  const int64_t tokens = x_TI.dim(0), inputs = x_TI.dim(1);
  return {.flops = 2.0 * static_cast<double>(tokens * inputs * outputs),
          .bytes = static_cast<double>(y_TO.bytes() + x_TI.bytes() + weight_bytes),
          .rows = outputs,
          .columns = inputs};
}

inline OpWork product_work(const Tensor& y_TO, const Tensor& x_TI, size_t weight_bytes) {
  return product_work(y_TO, x_TI, weight_bytes, y_TO.dim(1));
}

// Of an op that does `products` products of a query and a key, or of their size, for each pair that sees each
// other. Counting pairs reads every token, so it is done for a profile only.
inline OpWork attention_work(const Stream& stream, double products, int64_t heads, int64_t head_size,
                             const Tensor& first_T, const Tensor& end_T,
                             std::initializer_list<Tensor> tensors) {
  if (stream.profile() == nullptr) return {};
  int64_t pairs = 0;
  for (const int32_t end : end_T.values<int32_t>()) pairs += end;
  for (const int32_t first : first_T.values<int32_t>()) pairs -= first;
  OpWork work = touches(tensors);
  work.flops = 2 * products * static_cast<double>(heads * head_size) * static_cast<double>(pairs);
  return work;
}

}  // namespace fern
