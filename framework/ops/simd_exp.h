// What softmax asks of a row of scores: its largest, its exponentials and their sum.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <bit>
#include <utility>

#include "framework/ops/simd.h"

namespace fern {

// Each lane beside the one whose number differs in the bit `kWidth`.
template <typename T, int kWidth, int... kLane>
inline Vector<T> swapped(Vector<T> vector, std::integer_sequence<int, kLane...>) {
  return __builtin_shuffle(vector, typename LaneIndex<T>::type{(kLane ^ kWidth)...});
}
// All lanes by `join`, in a tree of halves.
template <typename T, int kWidth = static_cast<int>(kLanes<T>) / 2, typename Join>
inline T folded(Vector<T> vector, Join join) {
  if constexpr (kWidth == 0) {
    return vector[0];
  } else {
    constexpr std::make_integer_sequence<int, static_cast<int>(kLanes<T>)> kAll;
    return folded<T, kWidth / 2>(join(vector, swapped<T, kWidth>(vector, kAll)), join);
  }
}
// `count` values, a multiple of kLanes and at least that.
template <typename T, typename Join>
inline T folded_row(const T* values, int64_t count, Join join) {
  Vector<T> all = load(values);
  for (int64_t i = kLanes<T>; i < count; i += kLanes<T>) all = join(all, load(values + i));
  return folded<T>(all, join);
}
template <typename T>
inline Vector<T> larger(Vector<T> a, Vector<T> b) {
  return a > b ? a : b;
}
template <typename T>
inline Vector<T> sum_of_two(Vector<T> a, Vector<T> b) {
  return a + b;
}
inline float largest_lane(Vector<float> vector) { return folded<float>(vector, larger<float>); }
template <typename T>
inline T sum_of_lanes(Vector<T> vector) {
  return folded<T>(vector, sum_of_two<T>);
}

#if defined(__AVX512F__)

// All lanes, said aloud: g++ 12 takes the unmasked intrinsics' undefined source for one that is used.
inline constexpr __mmask16 kAllLanes = 0xffff;

// -200 where x is less, so that 2^x is 0 and x - x is not NaN.
inline Vector<float> bounded_exponent(Vector<float> x) {
  return _mm512_maskz_max_ps(kAllLanes, Vector<float>{} - 200.0F, x);
}
inline Vector<float> rounded(Vector<float> x) {
  return _mm512_maskz_roundscale_ps(kAllLanes, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// y 2^n
inline Vector<float> scaled(Vector<float> y, Vector<float> n) {
  return _mm512_maskz_scalef_ps(kAllLanes, y, n);
}

#else

inline Vector<float> bounded_exponent(Vector<float> x) { return x < -127.0F ? Vector<float>{} - 127.0F : x; }
inline Vector<float> rounded(Vector<float> x) {
  constexpr float kNoFraction = 0x1.8p23F;
  return (x + kNoFraction) - kNoFraction;
}
// y 2^n, or 0 when n is -127.
inline Vector<float> scaled(Vector<float> y, Vector<float> n) {
  typedef LaneIndex<float>::type Integers;
  const Integers exponent = (__builtin_convertvector(n, Integers) + 127) << 23;
  return y * std::bit_cast<Vector<float> >(exponent);
}

#endif

// Relative error below 2e-7 for x in [-126, 127]; 0 for x < -200 and at most 2^-126 in between; NaN stays
// NaN. 2^n 2^f with |f| <= 1/2, the latter by a minimax polynomial fitted to 9.2e-8.
inline Vector<float> exp2(Vector<float> x) {
  const Vector<float> bounded = bounded_exponent(x), n = rounded(bounded), f = bounded - n;
  Vector<float> q = Vector<float>{} + 0x1.5bba14p-10F;
  q = q * f + 0x1.3cea88p-7F;
  q = q * f + 0x1.c6b752p-5F;
  q = q * f + 0x1.ebf9bcp-3F;
  q = q * f + 0x1.62e42ap-1F;
  return scaled(q * f + 1.0F, n);
}

}  // namespace fern
