// e^x that `#pragma omp simd` loops vectorise. glibc's own vector exp is declared only under -ffast-math,
// which would break the promises about bits and NaN.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace fern {

inline double fast_exp(double x) { return std::exp(x); }

// Relative error below 1.5e-7 on [-87, 88]; 0 below; e^88 above; NaN stays NaN. 2^n e^r with |r| <= ln(2) /
// 2, ln 2 in two parts (Cody and Waite 1980, chapter 6), e^r by a minimax polynomial fitted to 3e-9.
inline float fast_exp(float x) {
  constexpr float kLowest = -87.0F, kHighest = 88.0F, kLog2E = 1.44269504F;
  constexpr float kLn2High = 0x1.62e4p-1F, kLn2Low = 0x1.7f7d1cp-20F;
  const float above = x < kLowest ? kLowest : x;
  const float bounded = above > kHighest ? kHighest : above;
  const float n = std::nearbyint(bounded * kLog2E);
  const float r = (bounded - n * kLn2High) - n * kLn2Low;
  float q = 0x1.6a23cep-10F;
  q = q * r + 0x1.123a20p-7F;
  q = q * r + 0x1.5558f2p-5F;
  q = q * r + 0x1.555492p-3F;
  q = q * r + 0x1.fffffcp-2F;
  const float power = std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
  const float result = (q * (r * r) + r + 1.0F) * power;
  return x < kLowest ? 0.0F : result;
}

}  // namespace fern
