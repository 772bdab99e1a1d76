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

// Transposes a square of kLanes vectors in log2(kLanes) rounds that swap the off-diagonal quarters of ever
// larger squares (Eklundh 1972).
inline void transpose(Floats (&row)[kLanes]) {
#pragma GCC unroll 4
  for (int width = 1; width < kLanes; width *= 2) {
    Ints upper = {}, lower = {};
#pragma GCC unroll 16
    for (int lane = 0; lane < kLanes; ++lane) {
      upper[lane] = (lane & width) != 0 ? kLanes + lane - width : lane;
      lower[lane] = (lane & width) != 0 ? kLanes + lane : lane + width;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if ((i & width) != 0) continue;
      const Floats a = row[i], b = row[i + width];
      row[i] = __builtin_shuffle(a, b, upper);
      row[i + width] = __builtin_shuffle(a, b, lower);
    }
  }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
