// What the tests of ops on bf16 activations share: the same values in bf16 and in f64, and how near results
// must be.
#pragma once

#include <algorithm>
#include <cmath>

#include "tests/framework/ops/op_testing.h"

namespace fern::testing {

// Half a unit in the last of bf16's 8 bits is 2^-9; a few roundings may meet.
inline constexpr double kTolerance = 0x1p-6;

// A random bf16 tensor, and the same values in f64.
struct Both {
  Both(Shape shape, uint64_t seed) : narrow(shape), wide(shape) {
    for (int64_t i = 0; i < shape.elements(); ++i) {
      narrow[i] = fern::narrow<BF16>(
          static_cast<float>(random_normal(seed, Purpose::kTest, static_cast<uint64_t>(i))));
      wide[i] = widen(narrow[i]);
    }
  }
  explicit Both(Shape shape) : narrow(shape), wide(shape) {}
  Values<BF16> narrow;
  Values<double> wide;
};

// The same for what stays wide beside bf16: f32 and f64.
struct BothWide {
  BothWide(Shape shape, uint64_t seed) : narrow(Values<float>::random(shape, seed)), wide(shape) {
    std::copy(narrow.data().begin(), narrow.data().end(), wide.data().begin());
  }
  explicit BothWide(Shape shape) : narrow(shape), wide(shape) {}
  Values<float> narrow;
  Values<double> wide;
};

template <typename Pair>
void expect_near(Pair& pair, const char* what, double tolerance = kTolerance) {
  double scale = 0, error = 0;
  for (size_t i = 0; i < pair.wide.data().size(); ++i) {
    scale = std::max(scale, std::abs(pair.wide.data()[i]));
    error = std::max(error, std::abs(widen(pair.narrow.data()[i]) - pair.wide.data()[i]));
  }
  EXPECT_LE(error, tolerance * scale) << what;
  EXPECT_GT(scale, 0.0) << what;
}

}  // namespace fern::testing
