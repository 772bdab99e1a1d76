#include "framework/ops/simd_rows.h"

#include <cmath>
#include <limits>
#include <vector>

#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

TEST(SimdRows, EveryColumnOnceAndNoneBeyond) {
  for (int64_t columns = 0; columns <= 3 * kLanes<float> + 1; ++columns) {
    std::vector<BF16> in, out(static_cast<size_t>(columns + 2), narrow<BF16>(-1));
    for (int64_t i = 0; i < columns + 2; ++i) in.push_back(narrow<BF16>(static_cast<float>(i)));
    for_vectors<float>(columns, [&](auto at) { at.write(out.data(), at.read(in.data()) + 1.0F); });
    for (int64_t i = 0; i < columns + 2; ++i)
      ASSERT_EQ(widen(out[static_cast<size_t>(i)]), i < columns ? i + 1 : -1) << i << " of " << columns;
  }
}

// So that a sum over a row is not changed by them.
TEST(SimdRows, LanesAfterTheRowAreZero) {
  const std::vector<BF16> row(2 * kLanes<float>, narrow<BF16>(1));
  Vector<float> sum = {};
  for_vectors<float>(kLanes<float> + 3, [&](auto at) { sum += at.read(row.data()); });
  for (int lane = 0; lane < kLanes<float>; ++lane) EXPECT_EQ(sum[lane], lane < 3 ? 2.0F : 1.0F);
}

TEST(SimdRows, RoundsAsOneValueIs) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> values = {0.0F,
                               -0.0F,
                               kInfinity,
                               -kInfinity,
                               std::bit_cast<float>(0x3f808000U),
                               std::bit_cast<float>(0x3f818000U),
                               3.4e38F};
  for (uint64_t i = 0; i < 1000; ++i)
    values.push_back(static_cast<float>(random_normal(1, Purpose::kTest, i)));
  for (size_t i = 0; i + kLanes<float> <= values.size(); i += kLanes<float>) {
    BF16 rounded[kLanes<float>];
    store_narrow(rounded, load(&values[i]));
    for (size_t lane = 0; lane < kLanes<float>; ++lane)
      ASSERT_EQ(rounded[lane].bits, narrow<BF16>(values[i + lane]).bits) << values[i + lane];
  }
  BF16 rounded[kLanes<float>];
  store_narrow(rounded, Vector<float>{} + std::bit_cast<float>(0x7f800001U));
  EXPECT_TRUE(std::isnan(widen(rounded[0])));
}

}  // namespace
}  // namespace fern::testing
