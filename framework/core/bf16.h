// bfloat16: the upper half of an f32, for storage only. Arithmetic widens to f32 and rounds once at the end.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace fern {

struct BF16 {
  uint16_t bits;
};

// The type that values stored as T are computed in.
template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, BF16>, float, T>;

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }
inline float widen(BF16 value) { return std::bit_cast<float>(uint32_t{value.bits} << 16); }

// Rounds to nearest, ties to even; NaN stays NaN. Branch-free, so that simd loops take it.
template <typename T>
inline T narrow(Wide<T> value) {
  if constexpr (std::is_same_v<T, BF16>) {
    const auto bits = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16, quiet = (bits >> 16) | 0x40;
    const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
    return {static_cast<uint16_t>(is_nan ? quiet : rounded)};
  } else {
    return value;
  }
}

}  // namespace fern
