// Loops over a row in vectors of what its values are computed in (simd.h): for ops on bf16, which g++ 12
// rounds to with nine instructions on integers where the processor has one of its own.
#pragma once

#include <algorithm>
#include <concepts>

#include "framework/ops/simd_bf16.h"

namespace fern {

template <std::floating_point T>
inline Vector<T> load_wide(const T* from) {
  return load(from);
}
inline Vector<float> load_wide(const BF16* from) {
  typedef uint16_t Halves __attribute__((vector_size(kVector_bytes / 2)));
  Halves bits;
  std::memcpy(&bits, from, sizeof(bits));
  return std::bit_cast<Vector<float>>(__builtin_convertvector(bits, Vector<BF16Pair>) << 16);
}

template <std::floating_point T>
inline void store_narrow(T* to, Vector<T> vector) {
  store(to, vector);
}
// Rounds as narrow() does; but the processor's instruction takes denormals for 0.
inline void store_narrow(BF16* to, Vector<float> vector) {
#if defined(__AVX512BF16__)
  const auto rounded = _mm512_cvtneps_pbh(vector);
#else
  typedef uint16_t Halves __attribute__((vector_size(kVector_bytes / 2)));
  typedef Vector<BF16Pair> Words;
  const auto bits = std::bit_cast<Words>(vector);
  const Words near = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16, quiet = (bits >> 16) | 0x40;
  const auto is_nan = std::bit_cast<Words>((bits & 0x7fffffff) > 0x7f800000);
  const Halves rounded = __builtin_convertvector((is_nan & quiet) | (~is_nan & near), Halves);
#endif
  static_assert(sizeof(rounded) == kVector_bytes / 2);
  std::memcpy(to, &rounded, sizeof(rounded));
}

// A vector of a row's columns, from `begin`. W: f32 or f64.
template <typename W>
struct WholeVector {
  int64_t begin;
  template <typename T>
  Vector<W> read(const T* row) const {
    return load_wide(row + begin);
  }
  template <typename T>
  void write(T* row, Vector<W> vector) const {
    store_narrow(row + begin, vector);
  }
};

// The `count` columns that are left at the end of a row: the lanes after them are read as 0.
template <typename W>
struct RestOfRow {
  int64_t begin, count;
  template <typename T>
  Vector<W> read(const T* row) const {
    T lanes[kLanes<W>] = {};
    std::copy_n(row + begin, count, lanes);
    return load_wide(lanes);
  }
  template <typename T>
  void write(T* row, Vector<W> vector) const {
    T lanes[kLanes<W>];
    store_narrow(lanes, vector);
    std::copy_n(lanes, count, row + begin);
  }
};

// Calls body(at) for every vector of a row, in order: `at` reads and writes those columns of any row.
template <typename W, typename Body>
inline void for_vectors(int64_t columns, Body&& body) {
  const int64_t whole = rounded_down(columns, kLanes<W>);
  for (int64_t begin = 0; begin < whole; begin += kLanes<W>) body(WholeVector<W>{begin});
  if (whole < columns) body(RestOfRow<W>{whole, columns - whole});
}

}  // namespace fern
