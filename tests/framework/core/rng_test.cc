#include "framework/core/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace fern {
namespace {

// Known answers of Random123's kat_vectors for philox4x32-10, counter and key zero.
TEST(Rng, PhiloxMatchesPublishedVector) {
  const auto bits = random_bits(0, static_cast<Purpose>(0), 0, 0);
  EXPECT_EQ(bits[0], 0x6627e8d5u);
  EXPECT_EQ(bits[1], 0xe169c58du);
  EXPECT_EQ(bits[2], 0xbc57ac4cu);
  EXPECT_EQ(bits[3], 0x9b00dbd8u);
}

TEST(Rng, NormalHasMeanZeroAndVarianceOne) {
  double sum = 0, squares = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random_normal(3, Purpose::kTest, static_cast<uint64_t>(i));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.02);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.02);
}

TEST(Rng, PermutedIsABijectionForEverySize) {
  for (uint64_t size : {1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4097}) {
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < size; ++i) {
      const uint64_t image = permuted(i, size, 7, Purpose::kTest, 2);
      EXPECT_LT(image, size);
      seen.insert(image);
    }
    EXPECT_EQ(seen.size(), size);
  }
}

TEST(Rng, PermutedDependsOnSeedAndEpoch) {
  int moved_by_seed = 0, moved_by_epoch = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    const uint64_t base = permuted(i, 1000, 1, Purpose::kTest, 0);
    moved_by_seed += base != permuted(i, 1000, 2, Purpose::kTest, 0);
    moved_by_epoch += base != permuted(i, 1000, 1, Purpose::kTest, 1);
  }
  EXPECT_GT(moved_by_seed, 980);
  EXPECT_GT(moved_by_epoch, 980);
}

}  // namespace
}  // namespace fern
