// Vectors as wide as the instruction set that a kernel is compiled for. Included by the kernels' sources
// alone: each of them is compiled once per instruction set, and all that it defines lives in that set's
// namespace, so that no function of one set is ever linked in place of another's. For the same reason a
// kernel calls nothing that is inline in a shared header.
#pragma once

#include <cstdint>

#include "framework/core/bf16.h"  // the type alone

namespace fern::FERN_SIMD_NAMESPACE {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif
inline constexpr int kLanes = kVectorBytes / 4;

typedef float Floats __attribute__((vector_size(kVectorBytes)));
typedef int32_t Ints __attribute__((vector_size(kVectorBytes)));
typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));
typedef uint16_t Halves __attribute__((vector_size(kVectorBytes / 2)));

inline Floats load(const float* from) {
  Floats vector;
  __builtin_memcpy(&vector, from, sizeof(vector));
  return vector;
}
inline Floats load(const BF16* from) {
  Halves bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return (Floats)(__builtin_convertvector(bits, Words) << 16);
}

inline void store(float* to, Floats vector) { __builtin_memcpy(to, &vector, sizeof(vector)); }
// Rounds as narrow() does.
inline void store(BF16* to, Floats vector) {
  const auto bits = (Words)vector;
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16, quiet = (bits >> 16) | 0x40;
  const Words is_nan = (Words)((bits & 0x7fffffff) > 0x7f800000);
  const Halves halves = __builtin_convertvector((is_nan & quiet) | (~is_nan & rounded), Halves);
  __builtin_memcpy(to, &halves, sizeof(halves));
}

// The first `count` lanes; the others are zero, or not written.
template <typename T>
Floats load_some(const T* from, int64_t count) {
  T values[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) values[i] = from[i];
  return load(values);
}
template <typename T>
void store_some(T* to, Floats vector, int64_t count) {
  T values[kLanes];
  store(values, vector);
  for (int64_t i = 0; i < count; ++i) to[i] = values[i];
}

// Swaps the second of each pair of `width` lanes of `a` with the first of that of `b`.
template <int width>
inline void swap_quarters(Floats& a, Floats& b) {
  Ints upper = {}, lower = {};
#pragma GCC unroll 16
  for (int lane = 0; lane < kLanes; ++lane) {
    upper[lane] = (lane & width) != 0 ? kLanes + lane - width : lane;
    lower[lane] = (lane & width) != 0 ? kLanes + lane : lane + width;
  }
  const Floats from_a = a, from_b = b;
  a = __builtin_shuffle(from_a, from_b, upper);
  b = __builtin_shuffle(from_a, from_b, lower);
}

// Transposes a square of kLanes vectors in log2(kLanes) rounds that swap the off-diagonal quarters of ever
// larger squares (Eklundh 1972).
template <int width = 1>
inline void transpose(Floats (&row)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i)
    if ((i & width) == 0) swap_quarters<width>(row[i], row[i + width]);
  if constexpr (2 * width < kLanes) transpose<2 * width>(row);
}

// The sums of the lanes of each of kCount vectors, in the first lanes of the result. REQUIRES: kCount is a
// power of two, at most kLanes; the vectors are used up.
template <int kCount, int width = kLanes / 2>
inline Floats lane_sums(Floats* vectors) {
  if constexpr (width == 0) {
    return vectors[0];
  } else if constexpr (kCount > 1) {
#pragma GCC unroll 16
    for (int i = 0; i < kCount / 2; ++i) {
      swap_quarters<width>(vectors[i], vectors[i + kCount / 2]);
      vectors[i] += vectors[i + kCount / 2];
    }
    return lane_sums<kCount / 2, width / 2>(vectors);
  } else {
    // Sums of 2 * width neighbouring lanes each: the upper half is added, and the lanes between are closed
    // up.
    Ints upper = {}, kept = {};
#pragma GCC unroll 16
    for (int lane = 0; lane < kLanes; ++lane) {
      upper[lane] = lane ^ width;
      kept[lane] = (lane / width * 2 * width + lane % width) % kLanes;
    }
    vectors[0] += __builtin_shuffle(vectors[0], upper);
    vectors[0] = __builtin_shuffle(vectors[0], kept);
    return lane_sums<1, width / 2>(vectors);
  }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
