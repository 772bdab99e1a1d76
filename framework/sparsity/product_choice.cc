#include "framework/sparsity/product_choice.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "framework/core/arena.h"
#include "framework/ops/linear.h"
#include "framework/ops/packed_weight.h"
#include "framework/sparsity/simd_level.h"
#include "framework/sparsity/sparse_product.h"

namespace fern {

namespace {

// Densities at which both kinds take as long, in f32 on 2 threads, from 512 x 512 to 3072 x 3072. Processors
// with two wide multiply-adds a cycle do twice the dense work a cycle, and hardly more of the sparse: there
// reading the activations is the limit.
double break_even(BlockShape block) {
  const bool is_wide = simd_level() >= SimdLevel::kAvx512, is_twice = has_two_wide_fma();
  if (block.rows % 4 == 0 && block.columns % 4 == 0) return is_twice ? 0.65 : 0.8;
  if (block.elements() == 1) return is_twice || !is_wide ? 0.5 : 0.7;
  return 0.1;  // plain loops
}

template <typename Work>
double best_seconds(const Work& work) {
  constexpr int kRounds = 3;
  using Clock = std::chrono::steady_clock;
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round <= kRounds; ++round) {  // the first warms up
    const auto begin = Clock::now();
    work();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (round > 0) best = std::min(best, seconds);
  }
  return best;
}

// What both kinds multiply.
struct Operands {
  Operands(const Pattern& pattern, DType dtype, int64_t tokens, Arena& a)
      : x(a.allocate(dtype, {tokens, pattern.columns()})),
        y(a.allocate(dtype, {tokens, pattern.rows()})),
        w(a.allocate(DType::kF32, {pattern.rows(), pattern.columns()})),
        dw(a.allocate(DType::kF32, {pattern.rows(), pattern.columns()})),
        values(a.allocate(DType::kF32, {pattern.nonzeros()})),
        dvalues(a.allocate(DType::kF32, {pattern.nonzeros()})),
        packed(pattern.rows(), pattern.columns(), WeightUse{dtype}, rooms) {
    rooms.allocate(a);
  }
  Tensor x, y, w, dw, values, dvalues;
  PackingRooms rooms;
  PackedWeight packed;
};

size_t operand_bytes(const Pattern& pattern, DType dtype, int64_t tokens) {
  Arena arena = Arena::measuring("products");
  const Operands operands(pattern, dtype, tokens, arena);
  return arena.used_bytes();
}

}  // namespace

bool prefers_dense(const Pattern& pattern, DType dtype) {
  return prefers_dense(pattern.density(), pattern.block(), dtype);
}

bool prefers_dense(double density, BlockShape block, DType dtype) {
  return dtype == DType::kF32 && density > break_even(block);
}

ProductCosts measure_products(const Pattern& pattern, DType dtype, int64_t tokens) {
  Arena arena("products", operand_bytes(pattern, dtype, tokens));
  Operands operands(pattern, dtype, tokens, arena);
  auto& [x, y, w, dw, values, dvalues, rooms, packed] = operands;
  Stream stream;
  const SparseProduct sparse(pattern);
  return {.sparse_s = best_seconds([&] {
            sparse.forward(y, x, values, stream);
            sparse.backward_input(x, y, values, stream);
            sparse.backward_weight(dvalues, y, x, stream);
          }),
          .dense_s = best_seconds([&] {
            if (packed.has_forward())
              packed.forward(y, x, w, 0, stream);
            else
              linear_forward(y, x, w, stream);
            if (packed.has_backward())
              packed.backward_input(x, y, w, 0, stream);
            else
              linear_backward_input(x, y, w, /*accumulate=*/false, stream);
            linear_backward_weight(dw, y, x, stream);
          })};
}

size_t measuring_bytes(const Pattern& pattern, DType dtype, int64_t tokens) {
  return operand_bytes(pattern, dtype, tokens) + SparseProduct(pattern).index_bytes();
}

}  // namespace fern
