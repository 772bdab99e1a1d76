#include "framework/ops/exp.h"

#include <gtest/gtest.h>

#include <limits>

namespace fern {
namespace {

TEST(FastExp, IsWithinItsStatedError) {
  for (float x = -87; x <= 88; x += 0.00137F) {
    const double expected = std::exp(static_cast<double>(x));
    ASSERT_NEAR(static_cast<double>(fast_exp(x)), expected, 1.5e-7 * expected) << x;
  }
  EXPECT_EQ(fast_exp(0.0F), 1.0F);
}

TEST(FastExp, HasEndsAndKeepsNan) {
  EXPECT_EQ(fast_exp(-87.5F), 0.0F);
  EXPECT_EQ(fast_exp(-std::numeric_limits<float>::infinity()), 0.0F);
  EXPECT_EQ(fast_exp(std::numeric_limits<float>::infinity()), fast_exp(88.0F));
  EXPECT_TRUE(std::isnan(fast_exp(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace fern
