#include <dnnl.h>

#include "framework/ops/pair_products.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fern {

bool has_amx() {
  static const bool has =
      (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
  return has;
}

#if defined(__x86_64__)

namespace {

constexpr int64_t kSide = 16;  // of a tile: rows, and sums or pairs in a row

// All eight tiles alike.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfiguration) == 64);
constexpr TileConfiguration kConfiguration;

// Tiles 0 to 3 are two by two of C, 4 and 5 of A, 6 and 7 of B. (The intrinsics' operands are numbers.)
template <bool kAccumulate>
void multiply_on_tiles(Block<float> c, Block<const BF16Pair> a, Block<const BF16Pair> b, int64_t columns,
                       int64_t pairs) {
  constexpr auto kElement_bytes = static_cast<int64_t>(sizeof(float));
  static_assert(sizeof(BF16Pair) == sizeof(float));
  const int64_t c_bytes = c.stride * kElement_bytes, a_bytes = a.stride * kElement_bytes,
                b_bytes = b.stride * kElement_bytes;
  for (int64_t column = 0; column < columns; column += 2 * kSide) {
    float *upper = c.data + column, *lower = upper + kSide * c.stride;
    if (kAccumulate) {
      _tile_loadd(0, upper, c_bytes);
      _tile_loadd(1, upper + kSide, c_bytes);
      _tile_loadd(2, lower, c_bytes);
      _tile_loadd(3, lower + kSide, c_bytes);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    for (int64_t k = 0; k < pairs; k += kSide) {
      const BF16Pair *left = a.data + k, *right = b.data + k * b.stride + column;
      _tile_loadd(4, left, a_bytes);
      _tile_loadd(6, right, b_bytes);
      _tile_loadd(7, right + kSide, b_bytes);
      _tile_loadd(5, left + kSide * a.stride, a_bytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, upper, c_bytes);
    _tile_stored(1, upper + kSide, c_bytes);
    _tile_stored(2, lower, c_bytes);
    _tile_stored(3, lower + kSide, c_bytes);
  }
}

}  // namespace

AmxProducts::AmxProducts() { _tile_loadconfig(&kConfiguration); }
AmxProducts::~AmxProducts() { _tile_release(); }

void AmxProducts::multiply_rows(Block<float> c, Block<const BF16Pair> a, Block<const BF16Pair> b,
                                int64_t columns, int64_t pairs, bool accumulate) {
  if (accumulate)
    multiply_on_tiles<true>(c, a, b, columns, pairs);
  else
    multiply_on_tiles<false>(c, a, b, columns, pairs);
}

#else

// Nobody makes one where has_amx() is false.
AmxProducts::AmxProducts() { __builtin_unreachable(); }
AmxProducts::~AmxProducts() = default;
void AmxProducts::multiply_rows(Block<float>, Block<const BF16Pair>, Block<const BF16Pair>, int64_t, int64_t,
                                bool) {}

#endif

}  // namespace fern
