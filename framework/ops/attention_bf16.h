// What the forward and the backward of bf16 attention share: tiles of pairs (simd_bf16.h), two terms of a
// product in each.
#pragma once

#include <cstring>
#include <numbers>

#include "framework/ops/attention_tiles.h"
#include "framework/ops/pair_products.h"

namespace fern {

inline constexpr int64_t kRowStep = 2 * kLanes<BF16Pair>;  // bf16 values in a vector
static_assert(kColumnStep<float> % kRowStep == 0);

// Copies rows of `columns` values to a tile whose rows are `out.stride` pairs, with zeros after each row and
// in the rows up to `filled`.
inline void copy_to_pairs(Block<BF16Pair> out, Block<const BF16> in, int64_t rows, int64_t filled,
                          int64_t columns) {
  const size_t bytes = static_cast<size_t>(columns) * sizeof(BF16),
               stride_bytes = static_cast<size_t>(out.stride) * sizeof(BF16Pair);
  for (int64_t row = 0; row < rows; ++row) {
    BF16Pair* to = out.data + row * out.stride;
    if (bytes != stride_bytes) std::memset(to, 0, stride_bytes);
    std::memcpy(to, in.data + row * in.stride, bytes);
  }
  std::memset(out.data + rows * out.stride, 0, static_cast<size_t>(filled - rows) * stride_bytes);
}

// Pairs up rows 2i and 2i + 1 of a tile of `rows` rows: out[i][column]. REQUIRES: out.stride is 2 * in.stride
// and a multiple of kRowStep; rows is even.
inline void pair_up_rows(Block<BF16Pair> out, Block<const BF16Pair> in, int64_t rows) {
  for (int64_t row = 0; row < rows; row += 2)
    for (int64_t column = 0; column < in.stride; column += kLanes<BF16Pair>) {
      const BF16Pair* from = in.data + row * in.stride + column;
      const PairVectors paired = paired_rows(std::bit_cast<HalfVector>(load(from)),
                                             std::bit_cast<HalfVector>(load(from + in.stride)));
      BF16Pair* to = out.data + row / 2 * out.stride + 2 * column;
      store(to, paired.low);
      store(to + kLanes<BF16Pair>, paired.high);
    }
}

// The scale of scores in the exponent of 2.
inline float exponent_scale(int64_t head_size) {
  return std::numbers::log2e_v<float> / std::sqrt(static_cast<float>(head_size));
}

}  // namespace fern
