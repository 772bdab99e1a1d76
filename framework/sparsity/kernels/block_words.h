// What a lane of a vector holds in the products of blocks: a word, which is an f32 or two bf16 that are
// multiplied with two others and summed. Included by the kernels' sources alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/vector.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace fern::FERN_SIMD_NAMESPACE {

// Values of T in a word.
template <typename T>
inline constexpr int64_t kPerWord = sizeof(float) / sizeof(T);

struct Pair {
  BF16 of[2];
};
inline Floats load(const Pair* from) {
  Floats vector;
  __builtin_memcpy(&vector, from, sizeof(vector));
  return vector;
}

// A word in all lanes. Not by way of a float: a pair is no number.
inline Floats splat_word(const float* from) {
  uint32_t bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return (Floats)(Words{} + bits);
}

// total + the products of the words of a and b.
template <typename T>
Floats add_product(Floats total, Floats a, Floats b);
template <>
inline Floats add_product<float>(Floats total, Floats a, Floats b) {
  return total + a * b;
}
template <>
inline Floats add_product<BF16>(Floats total, Floats a, Floats b) {
#if defined(__AVX512BF16__)
  return (Floats)_mm512_dpbf16_ps((__m512)total, (__m512bh)a, (__m512bh)b);
#else
  const Floats a_first = (Floats)((Words)a << 16), b_first = (Floats)((Words)b << 16);
  const Floats a_second = (Floats)((Words)a & 0xffff0000), b_second = (Floats)((Words)b & 0xffff0000);
  return total + a_first * b_first + a_second * b_second;
#endif
}

typedef int32_t QuadInts __attribute__((vector_size(16)));
typedef uint32_t QuadWords __attribute__((vector_size(16)));

// Values that are neighbours in depth become words.
inline Quad pairs(QuadWords first, QuadWords second) { return (Quad)(first | second << 16); }

// The bits of bf16, rounded as narrow() does.
inline QuadWords rounded_to_bf16(Quad values) {
  const auto bits = (QuadWords)values;
  const QuadWords rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16, quiet = (bits >> 16) | 0x40;
  const auto is_nan = (QuadWords)((bits & 0x7fffffff) > 0x7f800000);
  return (is_nan & quiet) | (~is_nan & rounded);
}

inline void transpose_quads(Quad (&row)[4]) {
  const Quad a = __builtin_shuffle(row[0], row[1], QuadInts{0, 4, 1, 5}),
             b = __builtin_shuffle(row[2], row[3], QuadInts{0, 4, 1, 5}),
             c = __builtin_shuffle(row[0], row[1], QuadInts{2, 6, 3, 7}),
             d = __builtin_shuffle(row[2], row[3], QuadInts{2, 6, 3, 7});
  row[0] = __builtin_shuffle(a, b, QuadInts{0, 1, 4, 5});
  row[1] = __builtin_shuffle(a, b, QuadInts{2, 3, 6, 7});
  row[2] = __builtin_shuffle(c, d, QuadInts{0, 1, 4, 5});
  row[3] = __builtin_shuffle(c, d, QuadInts{2, 3, 6, 7});
}

}  // namespace fern::FERN_SIMD_NAMESPACE
