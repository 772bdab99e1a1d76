// What every op asks before it computes: are the arguments right, and is the work worth several threads.
#pragma once

#include <initializer_list>
#include <string_view>

#include "framework/core/tensor.h"

namespace fern {

// Values below which an op stays on the calling thread: waking others would cost more.
inline constexpr int64_t kParallelElements = 1 << 14;

// Fails with "[op] expected ... on the cpu, got cuda" unless the stream and all tensors are the CPU's.
void expect_on_cpu(std::string_view op, const Stream& stream, std::initializer_list<Tensor> tensors);

// Fails with "[op] name: expected ... dimensions, got ..." unless the tensor has `rank` dimensions. To be
// asked before dim().
void expect_rank(std::string_view op, std::string_view name, const Tensor& tensor, int rank);

// first_T and end_T are i32 [tokens], non-decreasing, 0 <= first[t] <= end[t] <= keys.
void expect_key_ranges(std::string_view op, const Tensor& first_T, const Tensor& end_T, int64_t tokens,
                       int64_t keys);

// How a row of qkv divides into heads: H query, G key, G value heads of size K.
struct HeadLayout {
  int64_t heads, kv_heads, head_size;
  int64_t group() const { return heads / kv_heads; }  // query heads that share a key head
  int64_t query(int64_t head) const { return head * head_size; }
  int64_t key(int64_t kv_head) const { return (heads + kv_head) * head_size; }
  int64_t value(int64_t kv_head) const { return (heads + kv_heads + kv_head) * head_size; }
};
// Errors: kv_heads does not divide heads, or E is not a multiple of H + 2G.
HeadLayout head_layout(std::string_view op, int64_t row_size, int64_t heads, int64_t kv_heads);

}  // namespace fern
