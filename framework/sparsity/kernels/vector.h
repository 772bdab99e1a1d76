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

// Four words, whatever the instruction set.
typedef float Quad __attribute__((vector_size(16)));
template <typename Word>
inline Quad load_quad(const Word* from) {
  static_assert(sizeof(Word) == sizeof(float));
  Quad quad;
  __builtin_memcpy(&quad, from, sizeof(quad));
  return quad;
}
inline void store_quad(float* to, Quad quad) { __builtin_memcpy(to, &quad, sizeof(quad)); }

// The pointer, computed once: a compiler would rather leave the sum of a base and an index to every load, and
// such loads are two operations instead of one to Intel's processors.
template <typename T>
const T* in_register(const T* pointer) {
  asm("" : "+r"(pointer));
  return pointer;
}

// The vector, loaded once, where a compiler would rather load it again for every use.
inline Floats in_register(Floats vector) {
#if defined(__x86_64__)
  asm("" : "+v"(vector));
#endif
  return vector;
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

// Lane `kLane` of every four.
template <int kLane>
inline Floats splat_of_four(Floats vector) {
  Ints lanes = {};
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) lanes[i] = i / 4 * 4 + kLane;
  return __builtin_shuffle(vector, lanes);
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

// Transposes, in every four lanes, each four rows.
inline void transpose_fours(Floats (&row)[kLanes]) {
  Ints low = {}, high = {};
#pragma GCC unroll 16
  for (int lane = 0; lane < kLanes; ++lane) {
    low[lane] = lane / 4 * 4 + lane % 4 / 2 + (lane & 1) * kLanes;
    high[lane] = low[lane] + 2;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i += 4) {
    Floats a = __builtin_shuffle(row[i], row[i + 1], low), c = __builtin_shuffle(row[i], row[i + 1], high),
           b = __builtin_shuffle(row[i + 2], row[i + 3], low),
           d = __builtin_shuffle(row[i + 2], row[i + 3], high);
    swap_quarters<2>(a, b), swap_quarters<2>(c, d);
    row[i] = a, row[i + 1] = b, row[i + 2] = c, row[i + 3] = d;
  }
}

// Transposes a square of kLanes vectors: its fours, and then in rounds that swap the off-diagonal quarters of
// ever larger squares (Eklundh 1972).
inline void transpose(Floats (&row)[kLanes]) {
  transpose_fours(row);
  if constexpr (kLanes > 4)
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i)
      if ((i & 4) == 0) swap_quarters<4>(row[i], row[i + 4]);
  if constexpr (kLanes > 8)
#pragma GCC unroll 16
    for (int i = 0; i < 8; ++i) swap_quarters<8>(row[i], row[i + 8]);
}

// Two quads as one vector, of 8 lanes.
template <typename Vector = Floats>
inline Vector joined(Quad lower, Quad upper) {
  const auto both = __builtin_shufflevector(lower, upper, 0, 1, 2, 3, 4, 5, 6, 7);
  static_assert(sizeof(both) == sizeof(Vector));
  Vector vector;
  __builtin_memcpy(&vector, &both, sizeof(both));
  return vector;
}

// kLanes rows from `from` on, transposed.
template <typename T>
inline void load_transposed(Floats (&row)[kLanes], const T* from, int64_t stride) {
  if constexpr (kLanes == 8 && sizeof(T) == sizeof(float)) {
    // Loading the quarters where they will be is cheaper than to move them.
    const auto load_fours = [&](int64_t at) {
      return joined(load_quad(from + at), load_quad(from + at + 4 * stride));
    };
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) row[i] = load_fours(i * stride), row[i + 4] = load_fours(i * stride + 4);
    transpose_fours(row);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) row[i] = load(from + i * stride);
    transpose(row);
  }
}

// The sums of the lanes of each of kCount vectors, in the first lanes of the result. REQUIRES: kCount is a
// power of two, at most kLanes; the vectors are used up.
template <int kCount, int width = kLanes / 2>
inline Floats lane_sums(Floats* vectors) {
  if constexpr (width == 0) {
    return vectors[0];
  } else if constexpr (kCount > 1) {
    // As swap_quarters() and the sum of both, but that the first of the two only chooses between a and b lane
    // by lane, which is cheaper than to move lanes.
    Ints kept = {}, moved = {};
#pragma GCC unroll 16
    for (int lane = 0; lane < kLanes; ++lane) {
      kept[lane] = (lane & width) != 0 ? kLanes + lane : lane;
      moved[lane] = (lane & width) != 0 ? kLanes + lane - width : lane + width;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kCount / 2; ++i) {
      const Floats a = vectors[i], b = vectors[i + kCount / 2];
      vectors[i] = __builtin_shuffle(a, b, kept) + __builtin_shuffle(a, b, moved);
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

// to[i] += from[i] for kCount values.
template <int kCount>
inline void add_few(float* to, const float* from) {
  constexpr int kFirst = 1 << (31 - __builtin_clz(kCount));
  typedef float Few __attribute__((vector_size(4 * kFirst)));
  Few total, more;
  __builtin_memcpy(&total, to, sizeof(total));
  __builtin_memcpy(&more, from, sizeof(more));
  total += more;
  __builtin_memcpy(to, &total, sizeof(total));
  if constexpr (kCount > kFirst) add_few<kCount - kFirst>(to + kFirst, from + kFirst);
}

// to[i] += the sum of the lanes of vector i for kCount vectors, which are used up. REQUIRES: room for as many
// vectors as the next power of two.
template <int kCount>
inline void add_lane_sums(float* to, Floats* vectors) {
  if constexpr (kCount > kLanes) {
    add_lane_sums<kLanes>(to, vectors);
    add_lane_sums<kCount - kLanes>(to + kLanes, vectors + kLanes);
  } else {
    constexpr int kPadded = kCount == 1 ? 1 : 2 << (31 - __builtin_clz(kCount - 1));
    for (int i = kCount; i < kPadded; ++i) vectors[i] = Floats{};
    const Floats sums = lane_sums<kPadded>(vectors);
    float total[kLanes];
    store(total, sums);
    add_few<kCount>(to, total);
  }
}

}  // namespace fern::FERN_SIMD_NAMESPACE
