#include "framework/ops/simd_bf16.h"

#include <cmath>
#include <limits>

#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

constexpr int64_t kHalves = 2 * kLanes<float>;

BF16 low(BF16Pair pair) { return {static_cast<uint16_t>(pair.bits)}; }
BF16 high(BF16Pair pair) { return {static_cast<uint16_t>(pair.bits >> 16)}; }

BF16Pair random_pair(uint64_t seed, int64_t i) {
  const auto value = [&](uint32_t half) -> uint32_t {
    return narrow<BF16>(
               static_cast<float>(random_normal(seed, Purpose::kTest, static_cast<uint64_t>(i), half)))
        .bits;
  };
  return {value(0) | value(1) << 16};
}

TEST(SimdBF16, ProductIsThatOfBothHalves) {
  constexpr int64_t kColumns = kColumnStep<float>, kDepth = 7;
  std::vector<BF16Pair> a, b;
  for (int64_t i = 0; i < kRowBlock * kDepth; ++i) a.push_back(random_pair(1, i));
  for (int64_t i = 0; i < kDepth * kColumns; ++i) b.push_back(random_pair(2, i));
  std::vector<float> c(static_cast<size_t>(kRowBlock * kColumns), 0.5F);
  product_of_rows<float, true, BF16Pair>({c.data(), kColumns}, {a.data(), kDepth, 1}, {b.data(), kColumns},
                                         kColumns, kDepth);
  for (int64_t row = 0; row < kRowBlock; ++row)
    for (int64_t column = 0; column < kColumns; ++column) {
      double sum = 0.5;
      for (int64_t k = 0; k < kDepth; ++k) {
        const BF16Pair left = a[static_cast<size_t>(row * kDepth + k)],
                       right = b[static_cast<size_t>(k * kColumns + column)];
        sum += static_cast<double>(widen(low(left))) * widen(low(right)) +
               static_cast<double>(widen(high(left))) * widen(high(right));
      }
      ASSERT_NEAR(c[static_cast<size_t>(row * kColumns + column)], sum, 1e-5);
    }
}

TEST(SimdBF16, RowIsRoundedAsOneValueIs) {
  std::vector<float> values;
  for (int64_t i = 0; i < kHalves; ++i)
    values.push_back(static_cast<float>(random_normal(1, Purpose::kTest, static_cast<uint64_t>(i))));
  values[1] = std::numeric_limits<float>::quiet_NaN();
  values[2] = std::bit_cast<float>(0x3f808000u);
  values[3] = -std::numeric_limits<float>::infinity();
  const HalfVector row = rounded_row(load(values.data()), load(values.data() + kLanes<float>));
  for (int64_t i = 0; i < kHalves; ++i) {
    const BF16 got = {row[i]}, expected = narrow<BF16>(values[static_cast<size_t>(i)]);
    if (i == 1)
      EXPECT_TRUE(std::isnan(widen(got)));
    else
      EXPECT_EQ(got.bits, expected.bits) << i;
  }
}

TEST(SimdBF16, RowsArePairedColumnByColumn) {
  HalfVector upper, lower;
  for (int64_t i = 0; i < kHalves; ++i)
    upper[i] = static_cast<uint16_t>(i), lower[i] = static_cast<uint16_t>(100 + i);
  const PairVectors pairs = paired_rows(upper, lower);
  for (int64_t i = 0; i < kHalves; ++i) {
    const uint32_t pair = i < kLanes<float> ? pairs.low[i] : pairs.high[i - kLanes<float>];
    EXPECT_EQ(pair, static_cast<uint32_t>(i | (100 + i) << 16)) << i;
  }
}

}  // namespace
}  // namespace fern::testing
