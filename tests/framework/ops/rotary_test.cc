#include "framework/ops/rotary.h"

#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

constexpr int64_t kTokens = 7, kHeads = 4, kKvHeads = 2, kHalf = 3,
                  kRow = (kHeads + 2 * kKvHeads) * 2 * kHalf;
constexpr double kTheta = 10000;

template <typename T>
struct Rotary {
  Rotary()
      : cosine({16, kHalf}),
        sine({16, kHalf}),
        qkv(Values<T>::random({kTokens, kRow}, 1)),
        position({kTokens}) {
    rotary_tables(cosine.tensor(), sine.tensor(), kTheta);
    position.data() = {0, 1, 2, 0, 1, 0, 1};
  }
  void forward(int64_t offset = 0) {
    rotary_forward(qkv.tensor(), cosine.tensor(), sine.tensor(), position.tensor(), kHeads, kKvHeads, offset,
                   stream);
  }
  void backward() {
    rotary_backward(qkv.tensor(), cosine.tensor(), sine.tensor(), position.tensor(), kHeads, kKvHeads,
                    stream);
  }

  Stream stream;
  Values<T> cosine, sine, qkv;
  Values<int32_t> position;
};

TEST(Rotary, RotatesHalvesByPosition) {
  Rotary<double> rotary;
  const std::vector<double> before = rotary.qkv.data();
  rotary.forward(2);
  for (int64_t t = 0; t < kTokens; ++t)
    for (int64_t e = 0; e < kRow; ++e) {
      const int64_t head = e / (2 * kHalf), i = e % kHalf;
      const size_t low = static_cast<size_t>(t * kRow + head * 2 * kHalf + i), high = low + kHalf;
      const double position = rotary.position[t] + 2;
      const double angle = position * std::pow(kTheta, -static_cast<double>(i) / kHalf);
      if (head >= kHeads + kKvHeads) {
        EXPECT_EQ(rotary.qkv.data()[low], before[low]);
      } else {
        EXPECT_NEAR(rotary.qkv.data()[low], before[low] * std::cos(angle) - before[high] * std::sin(angle),
                    1e-12);
        EXPECT_NEAR(rotary.qkv.data()[high], before[high] * std::cos(angle) + before[low] * std::sin(angle),
                    1e-12);
      }
    }
}

TEST(Rotary, BackwardMatchesFiniteDifference) {
  Rotary<double> rotary;
  Values<double> input = rotary.qkv, dy = Values<double>::random({kTokens, kRow}, 2);
  rotary.qkv = dy;
  rotary.backward();
  const std::vector<double> gradient = rotary.qkv.data();
  const auto loss = [&] {
    rotary.qkv = input;
    rotary.forward();
    return dot(rotary.qkv.data(), dy.data());
  };
  expect_gradient(loss, input.data(), gradient);
}

TEST(Rotary, F32MatchesF64) {
  Rotary<float> narrow;
  Rotary<double> wide;
  narrow.forward(9), wide.forward(9);
  expect_close(narrow.qkv.data(), wide.qkv.data(), Device::kCpu);
}

TEST(Rotary, BitsDoNotDependOnThreads) {
  expect_bits_independent_of_threads<float>([] {
    Rotary<float> rotary;
    rotary.forward();
    return rotary.qkv.data();
  });
}

TEST(Rotary, RefusesPositionsOutsideTheTables) {
  Rotary<float> rotary;
  rotary.forward(13);
  expect_error([&] { rotary.forward(14); }, "[rotary_forward] token 2: expected a position in 0..15, got 16");
  expect_error([&] { rotary.forward(-1); }, "token 0: expected a position in 0..15, got -1");
}

TEST(Rotary, RefusesWrongShapes) {
  Rotary<float> rotary;
  expect_error(
      [&] {
        rotary_forward(rotary.qkv.tensor(), rotary.cosine.tensor(), rotary.sine.tensor(),
                       rotary.position.tensor(), 4, 3, 0, rotary.stream);
      },
      "expected kv_heads that divide heads, got 4 heads and 3 kv_heads");
  expect_error(
      [&] {
        rotary_forward(rotary.qkv.tensor(), rotary.cosine.tensor(), rotary.sine.tensor(),
                       rotary.position.tensor(), 3, 3, 0, rotary.stream);
      },
      "expected rows of (heads + 2 kv_heads) x head size, got 48");
  expect_error(
      [&] {
        rotary_forward(rotary.qkv.tensor(), rotary.cosine.tensor(), rotary.sine.tensor().reshape({kHalf, 16}),
                       rotary.position.tensor(), kHeads, kKvHeads, 0, rotary.stream);
      },
      "sin: expected f32 [16, 3], got f32 [3, 16]");
  expect_error(
      [&] {
        rotary_forward(rotary.qkv.tensor(), rotary.cosine.tensor(), rotary.sine.tensor(),
                       rotary.position.tensor().rows(0, 3), kHeads, kKvHeads, 0, rotary.stream);
      },
      "position: expected i32 [7], got i32 [3]");
}

TEST(Rotary, RefusesAnotherDevice) {
  Rotary<float> rotary;
  rotary.stream = Stream(Device::kCuda);
  expect_error([&] { rotary.forward(); }, "expected a stream on the cpu");
}

}  // namespace
}  // namespace fern::testing
