#include "framework/ops/packed_weight.h"

#include <optional>

#include "framework/ops/linear.h"
#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

// y = x W^T in f32 from a packed weight; empty where this processor has no packed layout.
std::vector<float> packed_forward(const Shape& x_shape, int64_t outputs) {
  const int64_t inputs = x_shape[1];
  auto x = Values<float>::random(x_shape, 1), w = Values<float>::random({outputs, inputs}, 2);
  Values<float> y({x_shape[0], outputs});
  std::optional<PackedWeight> packed;
  const Arena arena =
      sized_arena("packed", [&](Arena& a) { packed.emplace(outputs, inputs, DType::kF32, a); });
  if (!packed->has_forward()) return {};
  Stream stream;
  packed->pack(w.tensor(), stream);
  packed->forward(y.tensor(), x.tensor(), stream);
  return y.data();
}

TEST(PackedWeight, F32ForwardMatchesThePlainProduct) {
  for (const auto& [tokens, inputs, outputs] : {std::array<int64_t, 3>{1, 1, 1},
                                                {3, 4, 5},
                                                {128, 64, 48},
                                                {129, 65, 385},
                                                {300, 70, 17},
                                                {513, 200, 64}}) {
    const std::vector<float> y = packed_forward({tokens, inputs}, outputs);
    if (y.empty()) GTEST_SKIP() << "this processor, or its library, has no packed layout for f32";
    auto x = Values<double>::random({tokens, inputs}, 1), w = Values<double>::random({outputs, inputs}, 2);
    Values<double> expected({tokens, outputs});
    Stream stream;
    linear_forward(expected.tensor(), x.tensor(), w.tensor(), stream);
    expect_close(y, expected.data(), Device::kCpu);
  }
}

TEST(PackedWeight, BitsDoNotDependOnThreads) {
  expect_bits_independent_of_threads<float>([] { return packed_forward({513, 200}, 96); });
}

TEST(PackedWeight, LeavesTheNumberOfThreadsAlone) {
  const Threads threads(3);
  packed_forward({300, 40}, 50);
  EXPECT_EQ(omp_get_max_threads(), 3);
}

TEST(PackedWeight, IsPackedAnewAfterAChange) {
  constexpr int64_t kSize = 40;
  auto x = Values<float>::random({kSize, kSize}, 1), w = Values<float>::random({kSize, kSize}, 2);
  Values<float> before({kSize, kSize}), after({kSize, kSize});
  std::optional<PackedWeight> packed;
  const Arena arena = sized_arena("packed", [&](Arena& a) { packed.emplace(kSize, kSize, DType::kF32, a); });
  if (!packed->has_forward()) GTEST_SKIP() << "this processor, or its library, has no packed layout for f32";
  Stream stream;
  packed->pack(w.tensor(), stream);
  packed->forward(before.tensor(), x.tensor(), stream);
  for (float& value : w.data()) value = -value;
  packed->pack(w.tensor(), stream);
  packed->forward(after.tensor(), x.tensor(), stream);
  for (int64_t i = 0; i < kSize * kSize; ++i) ASSERT_EQ(after[i], -before[i]);
}

TEST(PackedWeight, RefusesWrongShapesAndTypes) {
  std::optional<PackedWeight> packed;
  const Arena arena = sized_arena("packed", [&](Arena& a) { packed.emplace(5, 4, DType::kF32, a); });
  Stream stream;
  Values<float> w({4, 5}), x({3, 5}), y({3, 5});
  if (!packed->has_forward()) GTEST_SKIP() << "this processor, or its library, has no packed layout for f32";
  expect_error([&] { packed->pack(w.tensor(), stream); },
               "[packed_weight] w: expected f32 [5, 4], got f32 [4, 5]");
  expect_error([&] { packed->forward(y.tensor(), x.tensor(), stream); },
               "[packed_weight] x: expected f32 [3, 4], got f32 [3, 5]");
}

}  // namespace
}  // namespace fern::testing
