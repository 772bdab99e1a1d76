#include "framework/sparsity/simd_level.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "framework/core/error.h"

namespace fern {

namespace {

constexpr std::array<std::string_view, 4> kNames = {"portable", "avx2", "avx512", "avx512_bf16"};

SimdLevel level_of_processor() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4") != 0)
    return __builtin_cpu_supports("avx512bf16") != 0 ? SimdLevel::kAvx512Bf16 : SimdLevel::kAvx512;
  if (__builtin_cpu_supports("x86-64-v3") != 0) return SimdLevel::kAvx2;
#endif
  return SimdLevel::kPortable;
}

SimdLevel level_of_environment() {
  const char* text = std::getenv("FERN_SIMD");
  if (text == nullptr) return SimdLevel::kAvx512Bf16;
  const auto found = std::find(kNames.begin(), kNames.end(), std::string_view(text));
  if (found == kNames.end())
    fail_usage("FERN_SIMD: expected portable, avx2, avx512 or avx512_bf16, got {}", text);
  return static_cast<SimdLevel>(found - kNames.begin());
}

}  // namespace

std::string_view simd_name(SimdLevel level) { return kNames[static_cast<size_t>(level)]; }

SimdLevel simd_level() {
  static const SimdLevel level = std::min(level_of_processor(), level_of_environment());
  return level;
}

bool has_two_wide_fma() {
#if defined(__x86_64__)
  return simd_level() >= SimdLevel::kAvx512 && __builtin_cpu_is("intel") != 0;
#else
  return false;
#endif
}

}  // namespace fern
