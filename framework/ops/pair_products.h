// Products of small matrices of pairs (simd_bf16.h) with f32 sums, in one of two ways: with vectors, or on
// the tiles of AMX, a processor's matrix unit, where it has one. An op that multiplies many of them is a
// template of the way.
#pragma once

#include <cassert>

#include "framework/ops/simd_bf16.h"

namespace fern {

// What a way asks of its operands: C has `rows` rows, its columns come in multiples of `columns`, and the
// depth in multiples of `pairs`.
struct ProductSteps {
  int64_t rows, columns, pairs;
};

struct VectorProducts {
  static constexpr ProductSteps kSteps = {kRowBlock, kColumnStep<float>, 1};

  // C (+)= A B.
  template <bool kAccumulate>
  void multiply(Block<float> c, Left<BF16Pair> a, Block<const BF16Pair> b, int64_t columns,
                int64_t pairs) const {
    product_of_rows<float, kAccumulate, BF16Pair>(c, a, b, columns, pairs);
  }
};

// On AMX's tiles of 16 rows of 64 bytes (Intel's Software Developer's Manual, volume 1, chapter 18). The
// calling thread's tiles are its own while this lives. REQUIRES has_amx() of all but that.
class AmxProducts {
 public:
  static constexpr ProductSteps kSteps = {32, 32, 16};

  AmxProducts();
  ~AmxProducts();
  AmxProducts(const AmxProducts&) = delete;
  AmxProducts& operator=(const AmxProducts&) = delete;

  // C (+)= A B. Where rows of A lie next to each other (its row_stride is 1), `pairs` is at most kMostAcross.
  static constexpr int64_t kMostAcross = 32;
  template <bool kAccumulate>
  void multiply(Block<float> c, Left<BF16Pair> a, Block<const BF16Pair> b, int64_t columns, int64_t pairs) {
    if (a.row_stride == 1) {
      assert(pairs <= kMostAcross);
      transpose<BF16Pair>({rows_of_a_, kMostAcross}, {a.data, a.depth_stride}, pairs, kSteps.rows);
      a = {rows_of_a_, kMostAcross, 1};
    }
    multiply_rows(c, {a.data, a.row_stride}, b, columns, pairs, kAccumulate);
  }

 private:
  static void multiply_rows(Block<float> c, Block<const BF16Pair> a, Block<const BF16Pair> b, int64_t columns,
                            int64_t pairs, bool accumulate);

  alignas(64) BF16Pair rows_of_a_[kSteps.rows * kMostAcross];
};

// Whether this processor multiplies bf16 on tiles and the system lets this process use them: the library's
// answer (oneDNN asks the system), so that its ONEDNN_MAX_CPU_ISA holds both down.
bool has_amx();

}  // namespace fern
