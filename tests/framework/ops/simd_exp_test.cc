#include "framework/ops/simd_exp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace fern {
namespace {

float exp2_of(float x) { return exp2(Vector<float>{} + x)[0]; }

TEST(SimdExp2, IsWithinItsStatedError) {
  for (float x = -126; x <= 127; x += 0.00137F) {
    const double expected = std::exp2(static_cast<double>(x));
    ASSERT_NEAR(static_cast<double>(exp2_of(x)), expected, 2e-7 * expected) << x;
  }
  EXPECT_EQ(exp2_of(0.0F), 1.0F);
}

TEST(SimdExp2, IsZeroFarBelowAndKeepsNan) {
  EXPECT_EQ(exp2_of(-201.0F), 0.0F);
  EXPECT_EQ(exp2_of(-std::numeric_limits<float>::infinity()), 0.0F);
  EXPECT_LE(exp2_of(-127.5F), 0x1p-126F);
  EXPECT_TRUE(std::isnan(exp2_of(std::numeric_limits<float>::quiet_NaN())));
}

TEST(SimdFold, TakesEveryLane) {
  for (int lane = 0; lane < kLanes<float>; ++lane) {
    Vector<float> vector = Vector<float>{} - 3.0F;
    vector[lane] = 2.0F;
    EXPECT_EQ(largest_lane(vector), 2.0F);
    EXPECT_EQ(sum_of_lanes<float>(vector), 2.0F - 3.0F * static_cast<float>(kLanes<float> - 1));
  }
}

}  // namespace
}  // namespace fern
