#include "framework/ops/packed_weight.h"

#include "framework/core/profile.h"
#include "framework/ops/linear.h"
#include "tests/framework/ops/op_testing.h"
#include "tests/framework/ops/packed_testing.h"

namespace fern::testing {
namespace {

// y = x W^T in f32 from a packed weight; empty where this processor has no packed layout.
std::vector<float> packed_forward(const Shape& x_shape, int64_t outputs) {
  const int64_t inputs = x_shape[1];
  auto x = Values<float>::random(x_shape, 1), w = Values<float>::random({outputs, inputs}, 2);
  Values<float> y({x_shape[0], outputs});
  PackedWeights packed(outputs, inputs, DType::kF32);
  if (!packed->has_forward()) return {};
  Stream stream;
  packed->forward(y.tensor(), x.tensor(), w.tensor(), 0, stream);
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
  PackedWeights packed(kSize, kSize, DType::kF32);
  if (!packed->has_forward()) GTEST_SKIP() << "this processor, or its library, has no packed layout for f32";
  Stream stream;
  packed->forward(before.tensor(), x.tensor(), w.tensor(), 1, stream);
  for (float& value : w.data()) value = -value;
  packed->forward(after.tensor(), x.tensor(), w.tensor(), 2, stream);
  for (int64_t i = 0; i < kSize * kSize; ++i) ASSERT_EQ(after[i], -before[i]);
}

// Times that weights were packed.
int64_t packings(const Profile& profile) {
  int64_t calls = 0;
  for (const Profile::Total& total : profile.totals())
    if (total.name == "pack_weight") calls += total.calls;
  return calls;
}

// Three weights in turn, twice: first one, twice in a row.
struct Turns {
  std::vector<std::vector<float>> results;
  int64_t packings = 0;
  size_t bytes = 0;
};

Turns take_turns(double tokens) {
  const std::vector<PackedWeights::Size> sizes = {{48, 64}, {96, 64}, {48, 64}};
  PackedWeights packed(sizes, {DType::kF32, tokens});
  Turns turns = {.results = {}, .bytes = packed.arena.used_bytes()};
  if (!packed->has_forward()) return turns;
  auto x = Values<float>::random({130, 64}, 1);
  Profile profile;
  Stream stream;
  stream.set_profile(&profile);
  profile.begin_step(1), profile.begin_step(2);
  for (const size_t i : {0, 0, 1, 2, 0, 1, 2}) {
    auto w = Values<float>::random({sizes[i].outputs, 64}, 10 + i);
    Values<float> y({130, sizes[i].outputs});
    packed.weights[i].forward(y.tensor(), x.tensor(), w.tensor(), 0, stream);
    turns.results.push_back(y.data());
  }
  turns.packings = packings(profile);
  return turns;
}

TEST(PackedWeight, WeightsThatShareRoomGiveTheSameBits) {
  const Turns apart = take_turns(1), together = take_turns(1 << 20);
  if (apart.results.empty()) GTEST_SKIP() << "this processor, or its library, has no packed layout for f32";
  EXPECT_EQ(apart.results, together.results);
  EXPECT_EQ(apart.packings, 3);
  EXPECT_EQ(together.packings, 6) << "whenever another weight has been there";
  EXPECT_EQ(apart.bytes, 2 * together.bytes) << "the room of the largest";
}

TEST(PackingRooms, AreSharedWhereProductsAreLong) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    EXPECT_FALSE(shares_packing({dtype, 1}));
    EXPECT_FALSE(shares_packing({dtype, 256}));
    EXPECT_TRUE(shares_packing({dtype, 2048}));
  }
}

TEST(PackedWeight, RefusesWrongShapesAndTypes) {
  PackedWeights packed(5, 4, DType::kF32);
  Stream stream;
  Values<float> w({5, 4}), across({4, 5}), x({3, 4}), wide_x({3, 5}), y({3, 5});
  if (!packed->has_forward()) GTEST_SKIP() << "this processor, or its library, has no packed layout for f32";
  expect_error([&] { packed->forward(y.tensor(), x.tensor(), across.tensor(), 0, stream); },
               "[packed_weight] w: expected f32 [5, 4], got f32 [4, 5]");
  expect_error([&] { packed->forward(y.tensor(), wide_x.tensor(), w.tensor(), 0, stream); },
               "[packed_weight] x: expected f32 [3, 4], got f32 [3, 5]");
}

}  // namespace
}  // namespace fern::testing
