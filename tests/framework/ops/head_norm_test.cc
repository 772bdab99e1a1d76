#include "framework/ops/head_norm.h"

#include "framework/ops/rms_norm.h"
#include "tests/framework/ops/bf16_testing.h"

namespace fern::testing {
namespace {

constexpr int64_t kHeads = 4, kKvHeads = 2, kSize = 6, kRow = (kHeads + 2 * kKvHeads) * kSize,
                  kRawRow = (kHeads + kKvHeads) * kSize;
constexpr double kEpsilon = 1e-5;
constexpr HeadRange kQueries = {0, kHeads}, kKeys = {kHeads, kHeads + kKvHeads};

template <typename T>
struct HeadNorm {
  explicit HeadNorm(int64_t tokens)
      : qkv(Values<T>::random({tokens, kRow}, 1)),
        dqkv(Values<T>::random({tokens, kRow}, 2)),
        raw({tokens, kRawRow}),
        w(Values<Wide<T>>::random({kSize}, 3)),
        dw({kSize}) {}
  void forward(HeadRange heads) {
    head_norm_forward(qkv.tensor(), raw.tensor(), w.tensor(), heads, kEpsilon, stream);
  }
  void backward(HeadRange heads) {
    head_norm_backward(dqkv.tensor(), dw.tensor(), raw.tensor(), w.tensor(), heads, kEpsilon, stream);
  }

  Stream stream;
  Values<T> qkv, dqkv, raw;
  Values<Wide<T>> w, dw;
};

// The heads of a range as rows of their own.
std::vector<double> heads_of(const std::vector<double>& rows, int64_t row, HeadRange heads) {
  std::vector<double> all;
  for (auto t = rows.begin(); t != rows.end(); t += row)
    all.insert(all.end(), t + heads.begin * kSize, t + heads.end * kSize);
  return all;
}

TEST(HeadNorm, IsRmsNormOfEachHeadAndLeavesTheOthersAlone) {
  for (const HeadRange heads : {kQueries, kKeys}) {
    HeadNorm<double> norm(3);
    const std::vector<double> before = norm.qkv.data(), dy = heads_of(norm.dqkv.data(), kRow, heads),
                              gradient_before = norm.dqkv.data();
    norm.forward(heads);
    norm.backward(heads);
    const int64_t rows = 3 * (heads.end - heads.begin);
    Values<double> x = Values<double>::from(heads_of(before, kRow, heads), {rows, kSize}), y({rows, kSize}),
                   rstd({rows}), dy_rows = Values<double>::from(dy, {rows, kSize}), dx({rows, kSize}),
                   dw({kSize});
    rms_norm_forward(y.tensor(), rstd.tensor(), x.tensor(), norm.w.tensor(), kEpsilon, norm.stream);
    rms_norm_backward(dx.tensor(), dw.tensor(), dy_rows.tensor(), x.tensor(), rstd.tensor(), norm.w.tensor(),
                      norm.stream);
    EXPECT_EQ(heads_of(norm.raw.data(), kRawRow, heads), x.data());
    const std::vector<double> normed = heads_of(norm.qkv.data(), kRow, heads),
                              gradient = heads_of(norm.dqkv.data(), kRow, heads);
    for (size_t i = 0; i < normed.size(); ++i) {
      EXPECT_NEAR(normed[i], y.data()[i], 1e-14);
      EXPECT_NEAR(gradient[i], dx.data()[i], 1e-13);
    }
    for (int64_t k = 0; k < kSize; ++k) EXPECT_NEAR(norm.dw[k], dw[k], 1e-13);
    for (const HeadRange other : {HeadRange{0, heads.begin}, HeadRange{heads.end, kRow / kSize}}) {
      EXPECT_EQ(heads_of(norm.qkv.data(), kRow, other), heads_of(before, kRow, other));
      EXPECT_EQ(heads_of(norm.dqkv.data(), kRow, other), heads_of(gradient_before, kRow, other));
    }
  }
}

TEST(HeadNorm, BackwardMatchesFiniteDifference) {
  HeadNorm<double> norm(5);
  Values<double> input = norm.qkv;
  const std::vector<double> dy = norm.dqkv.data();
  const auto loss = [&] {
    norm.qkv = input;
    norm.forward(kKeys);
    return dot(norm.qkv.data(), dy);
  };
  loss();
  norm.backward(kKeys);
  const std::vector<double> gradient = norm.dqkv.data(), dw = norm.dw.data();
  expect_gradient(loss, input.data(), gradient);
  expect_gradient(loss, norm.w.data(), dw);
}

TEST(HeadNorm, TheGainsGradientAddsUpOverCalls) {
  HeadNorm<double> norm(70);  // two blocks of tokens
  norm.forward(kQueries);
  const std::vector<double> dy = norm.dqkv.data();
  norm.backward(kQueries);
  const std::vector<double> once = norm.dw.data();
  norm.dqkv = Values<double>::from(dy, {70, kRow});
  norm.backward(kQueries);
  for (size_t k = 0; k < once.size(); ++k) EXPECT_NEAR(norm.dw.data()[k], 2 * once[k], 1e-12);
}

template <typename T>
void run(HeadNorm<T>& norm) {
  for (const HeadRange heads : {kQueries, kKeys}) {
    norm.forward(heads);
    norm.backward(heads);
  }
}

TEST(HeadNorm, F32MatchesF64) {
  HeadNorm<float> narrow(129);
  HeadNorm<double> wide(129);
  run(narrow), run(wide);
  expect_close(narrow.qkv.data(), wide.qkv.data(), Device::kCpu);
  expect_close(narrow.dqkv.data(), wide.dqkv.data(), Device::kCpu);
  expect_close(narrow.dw.data(), wide.dw.data(), Device::kCpu);
}

TEST(HeadNorm, BF16MatchesF64) {
  Stream stream;
  Both qkv({70, kRow}, 1), dqkv({70, kRow}, 2), raw({70, kRawRow});
  BothWide w({kSize}, 3), dw({kSize});
  for (const HeadRange heads : {kQueries, kKeys}) {
    head_norm_forward(qkv.narrow.tensor(), raw.narrow.tensor(), w.narrow.tensor(), heads, kEpsilon, stream);
    head_norm_forward(qkv.wide.tensor(), raw.wide.tensor(), w.wide.tensor(), heads, kEpsilon, stream);
    head_norm_backward(dqkv.narrow.tensor(), dw.narrow.tensor(), raw.narrow.tensor(), w.narrow.tensor(),
                       heads, kEpsilon, stream);
    head_norm_backward(dqkv.wide.tensor(), dw.wide.tensor(), raw.wide.tensor(), w.wide.tensor(), heads,
                       kEpsilon, stream);
  }
  expect_near(qkv, "qkv");
  expect_near(dqkv, "dqkv");
  expect_near(dw, "dw");
}

TEST(HeadNorm, BitsDoNotDependOnThreads) {
  expect_bits_independent_of_threads<float>([] {
    HeadNorm<float> norm(500);
    run(norm);
    std::vector<float> all = norm.qkv.data();
    all.insert(all.end(), norm.dqkv.data().begin(), norm.dqkv.data().end());
    all.insert(all.end(), norm.dw.data().begin(), norm.dw.data().end());
    return all;
  });
}

TEST(HeadNorm, RefusesWrongShapes) {
  HeadNorm<float> norm(3);
  Values<float> other({2, kRawRow}), longer({kSize + 1});
  expect_error(
      [&] {
        norm.forward({kHeads, kHeads + kKvHeads + 1});
      },
      "[head_norm_forward] expected some of 6 heads of size 6, got 4 to 6");
  expect_error(
      [&] {
        head_norm_forward(norm.qkv.tensor(), other.tensor(), norm.w.tensor(), kKeys, kEpsilon, norm.stream);
      },
      "[head_norm_forward] raw: expected f32 [3, 36], got f32 [2, 36]");
  expect_error(
      [&] {
        head_norm_backward(norm.dqkv.tensor(), longer.tensor(), norm.raw.tensor(), norm.w.tensor(), kKeys,
                           kEpsilon, norm.stream);
      },
      "[head_norm_backward] dw: expected f32 [6], got f32 [7]");
}

TEST(HeadNorm, RefusesAnotherDevice) {
  HeadNorm<float> norm(3);
  norm.stream = Stream(Device::kCuda);
  expect_error([&] { norm.forward(kKeys); }, "expected a stream on the cpu");
}

}  // namespace
}  // namespace fern::testing
