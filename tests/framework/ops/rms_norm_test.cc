#include "framework/ops/rms_norm.h"

#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

constexpr double kEpsilon = 1e-5;

template <typename T>
struct Norm {
  Norm(int64_t tokens, int64_t hidden)
      : x(Values<T>::random({tokens, hidden}, 1)),
        w(Values<T>::random({hidden}, 2)),
        dy(Values<T>::random({tokens, hidden}, 3)),
        y({tokens, hidden}),
        rstd({tokens}),
        dx({tokens, hidden}),
        dw({hidden}) {}

  void forward() { rms_norm_forward(y.tensor(), rstd.tensor(), x.tensor(), w.tensor(), kEpsilon, stream); }
  void backward() {
    rms_norm_backward(dx.tensor(), dw.tensor(), dy.tensor(), x.tensor(), rstd.tensor(), w.tensor(), stream);
  }

  Stream stream;
  Values<T> x, w, dy, y, rstd, dx, dw;
};

TEST(RmsNorm, ForwardIsTheFormula) {
  Norm<double> norm(1, 2);
  norm.x.data() = {3, 4};
  norm.w.data() = {1, 2};
  norm.forward();
  const double rms = std::sqrt(12.5 + kEpsilon);
  EXPECT_NEAR(norm.y[0], 3 / rms, 1e-15);
  EXPECT_NEAR(norm.y[1], 8 / rms, 1e-15);
  EXPECT_NEAR(norm.rstd[0], 1 / rms, 1e-15);
}

TEST(RmsNorm, BackwardMatchesFiniteDifference) {
  for (const auto& [tokens, hidden] : {std::pair{1, 3}, {3, 7}, {5, 65}}) {
    Norm<double> norm(tokens, hidden);
    norm.forward();
    norm.backward();
    const auto loss = [&] { return norm.forward(), dot(norm.y.data(), norm.dy.data()); };
    expect_gradient(loss, norm.x.data(), norm.dx.data());
    expect_gradient(loss, norm.w.data(), norm.dw.data());
  }
}

TEST(RmsNorm, GradientsAccumulate) {
  Norm<double> norm(3, 7);
  norm.forward();
  norm.backward();
  const std::vector<double> dx = norm.dx.data(), dw = norm.dw.data();
  norm.backward();
  for (size_t i = 0; i < dx.size(); ++i) EXPECT_NEAR(norm.dx.data()[i], 2 * dx[i], 1e-12);
  for (size_t i = 0; i < dw.size(); ++i) EXPECT_NEAR(norm.dw.data()[i], 2 * dw[i], 1e-12);
}

TEST(RmsNorm, F32MatchesF64) {
  Norm<float> narrow(33, 129);
  Norm<double> wide(33, 129);
  narrow.forward(), wide.forward();
  narrow.backward(), wide.backward();
  expect_close(narrow.y.data(), wide.y.data(), Device::kCpu);
  expect_close(narrow.dx.data(), wide.dx.data(), Device::kCpu);
  expect_close(narrow.dw.data(), wide.dw.data(), Device::kCpu);
}

TEST(RmsNorm, BitsDoNotDependOnThreads) {
  expect_bits_independent_of_threads<float>([] {
    Norm<float> norm(300, 129);
    norm.forward();
    norm.backward();
    std::vector<float> all = norm.y.data();
    all.insert(all.end(), norm.dx.data().begin(), norm.dx.data().end());
    all.insert(all.end(), norm.dw.data().begin(), norm.dw.data().end());
    return all;
  });
}

TEST(RmsNorm, AddNormIsAddThenNorm) {
  Norm<float> norm(5, 33);
  Values<float> a = Values<float>::random({5, 33}, 7), b = Values<float>::random({5, 33}, 8);
  for (int64_t i = 0; i < 5 * 33; ++i) norm.x[i] = a[i] + b[i];
  norm.forward();
  Values<float> y({5, 33}), rstd({5});
  add_rms_norm_forward(y.tensor(), a.tensor(), rstd.tensor(), a.tensor(), b.tensor(), norm.w.tensor(),
                       kEpsilon, norm.stream);
  EXPECT_EQ(a.data(), norm.x.data());
  EXPECT_EQ(y.data(), norm.y.data());
  EXPECT_EQ(rstd.data(), norm.rstd.data());
}

TEST(RmsNorm, RefusesWrongShapes) {
  Norm<float> norm(3, 4);
  Values<float> other({4, 3});
  expect_error(
      [&] {
        rms_norm_forward(other.tensor(), norm.rstd.tensor(), norm.x.tensor(), norm.w.tensor(), kEpsilon,
                         norm.stream);
      },
      "[rms_norm_forward] y: expected f32 [3, 4], got f32 [4, 3]");
  expect_error(
      [&] {
        rms_norm_forward(norm.y.tensor(), norm.rstd.tensor(), norm.x.tensor(), norm.rstd.tensor(), kEpsilon,
                         norm.stream);
      },
      "w: expected f32 [4], got f32 [3]");
  expect_error(
      [&] {
        rms_norm_backward(norm.dx.tensor(), norm.rstd.tensor(), norm.dy.tensor(), norm.x.tensor(),
                          norm.rstd.tensor(), norm.w.tensor(), norm.stream);
      },
      "[rms_norm_backward] dw: expected f32 [4]");
  expect_error(
      [&] {
        add_rms_norm_forward(norm.y.tensor(), norm.dx.tensor(), norm.rstd.tensor(), norm.x.tensor(),
                             other.tensor(), norm.w.tensor(), kEpsilon, norm.stream);
      },
      "[add_rms_norm_forward] b: expected f32 [3, 4]");
}

TEST(RmsNorm, RefusesAnotherDevice) {
  Norm<float> norm(3, 4);
  Stream cuda(Device::kCuda);
  expect_error(
      [&] {
        rms_norm_forward(norm.y.tensor(), norm.rstd.tensor(), norm.x.tensor(), norm.w.tensor(), kEpsilon,
                         cuda);
      },
      "expected a stream on the cpu");
}

}  // namespace
}  // namespace fern::testing
