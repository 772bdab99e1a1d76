// Both ways to multiply pairs, against f64.
#include "framework/ops/pair_products.h"

#include <vector>

#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

std::vector<BF16> random_halves(int64_t count, uint64_t seed) {
  std::vector<BF16> halves;
  for (int64_t i = 0; i < count; ++i)
    halves.push_back(
        narrow<BF16>(static_cast<float>(random_normal(seed, Purpose::kTest, static_cast<uint64_t>(i)))));
  return halves;
}

// Two by two of everything that a product goes in steps of; rows of C are longer than what is multiplied.
template <typename Products>
struct Example {
  static constexpr int64_t kRows = Products::kSteps.rows, kColumns = 2 * Products::kSteps.columns,
                           kPairs = 2 * Products::kSteps.pairs, kStride = kColumns + 16;

  BF16 a_at(int64_t row, int64_t k) const { return a[static_cast<size_t>(row * 2 * kPairs + k)]; }
  BF16 b_at(int64_t k, int64_t column) const { return b[static_cast<size_t>(k * kColumns + column)]; }
  static BF16Pair pair(BF16 low, BF16 high) { return {low.bits | uint32_t{high.bits} << 16}; }

  template <bool kAccumulate>
  void run(bool across) {
    std::vector<BF16Pair> left(kRows * kPairs), right(kPairs * kColumns);
    for (int64_t k = 0; k < kPairs; ++k) {
      for (int64_t row = 0; row < kRows; ++row)
        left[static_cast<size_t>(across ? k * kRows + row : row * kPairs + k)] =
            pair(a_at(row, 2 * k), a_at(row, 2 * k + 1));
      for (int64_t column = 0; column < kColumns; ++column)
        right[static_cast<size_t>(k * kColumns + column)] =
            pair(b_at(2 * k, column), b_at(2 * k + 1, column));
    }
    Products products;
    products.template multiply<kAccumulate>({c.data(), kStride},
                                            {left.data(), across ? 1 : kPairs, across ? kRows : 1},
                                            {right.data(), kColumns}, kColumns, kPairs);
  }
  void expect_sums(double before) const {
    for (int64_t row = 0; row < kRows; ++row)
      for (int64_t column = 0; column < kStride; ++column) {
        double sum = column < kColumns ? before : 0.5;
        for (int64_t k = 0; k < 2 * kPairs && column < kColumns; ++k)
          sum += static_cast<double>(widen(a_at(row, k))) * widen(b_at(k, column));
        ASSERT_NEAR(c[static_cast<size_t>(row * kStride + column)], sum, 2e-5) << row << " " << column;
      }
  }

  std::vector<BF16> a = random_halves(kRows * 2 * kPairs, 1), b = random_halves(2 * kPairs * kColumns, 2);
  std::vector<float> c = std::vector<float>(kRows * kStride, 0.5F);
};

template <typename Products>
void expect_products() {
  for (const bool across : {false, true}) {
    SCOPED_TRACE(across ? "across" : "in rows");
    Example<Products> set, added;
    set.template run<false>(across);
    set.expect_sums(0);
    added.template run<true>(across);
    added.expect_sums(0.5);
  }
}

TEST(PairProducts, WithVectors) { expect_products<VectorProducts>(); }

TEST(PairProducts, OnTiles) {
  if (!has_amx()) GTEST_SKIP() << "no AMX tiles of bf16 on this processor, or the system withholds them";
  expect_products<AmxProducts>();
}

}  // namespace
}  // namespace fern::testing
