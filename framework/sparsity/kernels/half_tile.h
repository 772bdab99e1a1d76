// Tiles of bf16 for processors that multiply pairs of it: bf16 [feature][kTokens], 64-byte aligned, tokens in
// an order of their own within each 32: that of a lane's unpacking, so that two features unpacked into pairs
// are again in the order of the tokens. Included by the kernels' sources alone (vector.h).
#pragma once

#include <immintrin.h>

#include "framework/sparsity/kernels/vector.h"

namespace fern::FERN_SIMD_NAMESPACE {

// Values of bf16 in one vector.
inline constexpr int kHalfLanes = 2 * kLanes;

inline __m512i load_half(const BF16* from) {
  __m512i bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return bits;
}
inline void store_half(BF16* to, __m512i bits) { __builtin_memcpy(to, &bits, sizeof(bits)); }

// The first `count` values of kHalfLanes; the others are zero.
inline __m512i load_some_halves(const BF16* from, int64_t count) {
  BF16 values[kHalfLanes] = {};
  for (int64_t i = 0; i < count; ++i) values[i] = from[i];
  return load_half(values);
}

// The lower halves of words whose upper halves are zero, those of both operands within each 128 bits.
inline __m512i pack_words(Words a, Words b) { return _mm512_packus_epi32((__m512i)a, (__m512i)b); }

// kLanes tokens of kHalfLanes features, turned over: vector i has features 2 i and 2 i + 1 of every token.
inline void read_pairs(Floats (&pairs)[kLanes], const BF16* x, int64_t stride, int64_t tokens,
                       int64_t features) {
  if (tokens >= kLanes && features >= kHalfLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) pairs[i] = (Floats)load_half(x + i * stride);
  } else {
    for (int i = 0; i < kLanes; ++i)
      pairs[i] = i < tokens
                     ? (Floats)load_some_halves(x + i * stride, features < kHalfLanes ? features : kHalfLanes)
                     : Floats{};
  }
  transpose(pairs);
}

// tile[feature][token] = x[token * stride + feature]; tokens that do not exist are zero. Writes whole
// kHalfLanes of features: REQUIRES room for them.
template <int64_t kTokens>
void read_half_tile(BF16* tile, const BF16* x, int64_t stride, int64_t tokens, int64_t features) {
  for (int64_t t = 0; t < kTokens; t += kHalfLanes)
    for (int64_t f = 0; f < features; f += kHalfLanes) {
      Floats first[kLanes], second[kLanes];
      const BF16* from = x + t * stride + f;
      read_pairs(first, from, stride, tokens - t, features - f);
      read_pairs(second, from + kLanes * stride, stride, tokens - t - kLanes, features - f);
      BF16* to = tile + f * kTokens + t;
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        const auto a = (Words)first[i], b = (Words)second[i];
        store_half(to + 2 * i * kTokens, pack_words(a & 0xffff, b & 0xffff));
        store_half(to + (2 * i + 1) * kTokens, pack_words(a >> 16, b >> 16));
      }
    }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
