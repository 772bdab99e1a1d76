#include "framework/ops/checks.h"

namespace fern {

void expect_on_cpu(std::string_view op, const Stream& stream, std::initializer_list<Tensor> tensors) {
  expect(stream.device() == Device::kCpu, "[{}] expected a stream on the cpu, got {}", op,
         name_of(stream.device()));
  for (const Tensor& tensor : tensors)
    expect(tensor.device() == Device::kCpu, "[{}] expected tensors on the cpu, got {} {}", op,
           name_of(tensor.device()), tensor.shape().to_string());
}

void expect_rank(std::string_view op, std::string_view name, const Tensor& tensor, int rank) {
  expect(tensor.shape().rank() == rank, "[{}] {}: expected {} dimension{}, got {}", op, name, rank,
         rank == 1 ? "" : "s", tensor.shape().to_string());
}

void expect_key_ranges(std::string_view op, const Tensor& first_T, const Tensor& end_T, int64_t tokens,
                       int64_t keys) {
  expect_tensor(op, "first", first_T, DType::kI32, {tokens});
  expect_tensor(op, "end", end_T, DType::kI32, {tokens});
  const int32_t *first = first_T.as<int32_t>(), *end = end_T.as<int32_t>();
  for (int64_t t = 0, first_before = 0, end_before = 0; t < tokens; ++t) {
    expect(first_before <= first[t] && first[t] <= end[t], "[{}] first[{}]: expected {}..{}, got {}", op, t,
           first_before, end[t], first[t]);
    expect(end_before <= end[t] && end[t] <= keys, "[{}] end[{}]: expected {}..{}, got {}", op, t, end_before,
           keys, end[t]);
    first_before = first[t], end_before = end[t];
  }
}

HeadLayout head_layout(std::string_view op, int64_t row_size, int64_t heads, int64_t kv_heads) {
  expect(kv_heads >= 1 && heads >= 1 && heads % kv_heads == 0,
         "[{}] expected kv_heads that divide heads, got {} heads and {} kv_heads", op, heads, kv_heads);
  expect(row_size >= 1 && row_size % (heads + 2 * kv_heads) == 0,
         "[{}] expected rows of (heads + 2 kv_heads) x head size, got {} for {} heads and {} kv_heads", op,
         row_size, heads, kv_heads);
  return {heads, kv_heads, row_size / (heads + 2 * kv_heads)};
}

}  // namespace fern
