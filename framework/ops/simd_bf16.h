// Products of bf16 operands with f32 sums, two of their terms at a time, for kernels of simd.h: by the
// processor's own instruction where the build is for one that has it, else in f32.
#pragma once

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include <bit>

#include "framework/core/bf16.h"
#include "framework/ops/simd.h"

namespace fern {

// Two values that follow one another in the depth of a product, the first in the lower half: as they lie in
// memory.
struct BF16Pair {
  uint32_t bits;
};

template <>
struct VectorOf<BF16Pair> {
  typedef uint32_t type __attribute__((vector_size(kVector_bytes)));
};
template <>
struct LaneIndex<BF16Pair> : LaneIndex<float> {};

typedef uint16_t HalfVector __attribute__((vector_size(kVector_bytes)));

// Two vectors whose lanes are pairs, for columns that follow one another.
struct PairVectors {
  Vector<BF16Pair> low, high;
};

// Pairs up two rows of 2 * kLanes<BF16Pair> values each, one above the other.
inline PairVectors paired_rows(HalfVector upper, HalfVector lower) {
  constexpr int kHalves = kVector_bytes / 2;
  HalfVector low = {}, high = {};
#pragma GCC unroll 32
  for (int lane = 0; lane < kHalves; ++lane) {
    low[lane] = static_cast<uint16_t>(lane / 2 + lane % 2 * kHalves);
    high[lane] = static_cast<uint16_t>(lane / 2 + lane % 2 * kHalves + kHalves / 2);
  }
  return {std::bit_cast<Vector<BF16Pair>>(__builtin_shuffle(upper, lower, low)),
          std::bit_cast<Vector<BF16Pair>>(__builtin_shuffle(upper, lower, high))};
}

#if defined(__AVX512BF16__)

// sum + a.low b.low + a.high b.high
inline Vector<float> multiply_add(Vector<float> sum, Vector<BF16Pair> a, Vector<BF16Pair> b) {
  return _mm512_dpbf16_ps(sum, std::bit_cast<__m512bh>(a), std::bit_cast<__m512bh>(b));
}

// 2 * kLanes<float> values of a row, rounded.
inline HalfVector rounded_row(Vector<float> first, Vector<float> second) {
  return std::bit_cast<HalfVector>(_mm512_cvtne2ps_pbh(second, first));
}

#else

// sum + a.low b.low + a.high b.high
inline Vector<float> multiply_add(Vector<float> sum, Vector<BF16Pair> a, Vector<BF16Pair> b) {
  return sum + std::bit_cast<Vector<float>>(a << 16) * std::bit_cast<Vector<float>>(b << 16) +
         std::bit_cast<Vector<float>>(a & 0xffff0000) * std::bit_cast<Vector<float>>(b & 0xffff0000);
}

// 2 * kLanes<float> values of a row, rounded.
inline HalfVector rounded_row(Vector<float> first, Vector<float> second) {
  HalfVector row = {};
  for (int lane = 0; lane < kLanes<float>; ++lane) {
    row[lane] = narrow<BF16>(first[lane]).bits;
    row[kLanes<float> + lane] = narrow<BF16>(second[lane]).bits;
  }
  return row;
}

#endif

inline Vector<float> multiply_add(Vector<float> sum, BF16Pair a, Vector<BF16Pair> b) {
  return multiply_add(sum, Vector<BF16Pair>{} + a.bits, b);
}

}  // namespace fern
