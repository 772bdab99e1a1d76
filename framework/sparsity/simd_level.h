// Which instruction set the sparse kernels use, decided when the program runs.
#pragma once

#include <string_view>

namespace fern {

// Each includes those before it.
enum class SimdLevel { kPortable, kAvx2, kAvx512, kAvx512Bf16 };

// "portable", "avx2", "avx512" or "avx512_bf16".
std::string_view simd_name(SimdLevel level);

// The best that this processor has; the environment variable FERN_SIMD, read once, holds it down to the level
// that it names (for tests, and to compare). Errors (kBadUsage): FERN_SIMD names no level.
SimdLevel simd_level();

// Whether the processor does two multiply-adds of 64 bytes a cycle: those of Intel with AVX-512 do, AMD's do
// one.
bool has_two_wide_fma();

}  // namespace fern
