#include "framework/ops/linear.h"

#include "framework/core/profile.h"
#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

struct Sizes {
  int64_t tokens, inputs, outputs;
};
constexpr Sizes kSmall[] = {{1, 1, 1}, {1, 5, 3}, {3, 4, 5}, {7, 2, 9}};
// Where a library might split the depth over threads, and odd sizes around the blocks.
constexpr Sizes kLarge[] = {{2048, 64, 64}, {2048, 40, 48}, {1, 512, 1536}, {513, 65, 385}, {257, 300, 129}};

template <typename T>
struct Products {
  explicit Products(Sizes s)
      : x(Values<T>::random({s.tokens, s.inputs}, 1)),
        w(Values<T>::random({s.outputs, s.inputs}, 2)),
        dy(Values<T>::random({s.tokens, s.outputs}, 3)),
        y({s.tokens, s.outputs}),
        dx(Values<T>::random({s.tokens, s.inputs}, 4)),
        dw(Values<T>::random({s.outputs, s.inputs}, 5)) {}

  void forward() { linear_forward(y.tensor(), x.tensor(), w.tensor(), stream); }
  void backward(bool accumulate) {
    linear_backward_input(dx.tensor(), dy.tensor(), w.tensor(), accumulate, stream);
    linear_backward_weight(dw.tensor(), dy.tensor(), x.tensor(), stream);
  }

  Stream stream;
  Values<T> x, w, dy, y, dx, dw;
};

TEST(Linear, AProfileCountsItsWork) {
  Products<float> p({7, 2, 9});
  Profile profile;
  p.stream.set_profile(&profile);
  profile.begin_step(1);
  profile.begin_step(2);
  p.forward();
  ASSERT_EQ(profile.totals().size(), 1u);
  const Profile::Total& total = profile.totals()[0];
  EXPECT_EQ(total.name, "linear_forward");
  EXPECT_EQ(total.work.flops, 2 * 7 * 2 * 9);
  EXPECT_EQ(total.work.bytes, 4 * (7 * 2 + 7 * 9 + 2 * 9));
  EXPECT_EQ(total.work.rows, 9);
  EXPECT_EQ(total.work.columns, 2);
}

TEST(Linear, BackwardMatchesFiniteDifference) {
  for (const Sizes& sizes : kSmall) {
    Products<double> p(sizes);
    std::fill(p.dw.data().begin(), p.dw.data().end(), 0.0);
    p.backward(false);
    const auto loss = [&] { return p.forward(), dot(p.y.data(), p.dy.data()); };
    expect_gradient(loss, p.x.data(), p.dx.data());
    expect_gradient(loss, p.w.data(), p.dw.data());
  }
}

TEST(Linear, GradientsAccumulate) {
  Products<double> p({3, 4, 5});
  const std::vector<double> dx = p.dx.data(), dw = p.dw.data();
  p.backward(true);
  Products<double> fresh({3, 4, 5});
  std::fill(fresh.dw.data().begin(), fresh.dw.data().end(), 0.0);
  fresh.backward(false);
  for (size_t i = 0; i < dx.size(); ++i) EXPECT_NEAR(p.dx.data()[i], dx[i] + fresh.dx.data()[i], 1e-12);
  for (size_t i = 0; i < dw.size(); ++i) EXPECT_NEAR(p.dw.data()[i], dw[i] + fresh.dw.data()[i], 1e-12);
}

TEST(Linear, F32MatchesF64) {
  for (const Sizes& sizes : kLarge) {
    Products<float> narrow(sizes);
    Products<double> wide(sizes);
    narrow.forward(), wide.forward();
    narrow.backward(true), wide.backward(true);
    expect_close(narrow.y.data(), wide.y.data(), Device::kCpu);
    expect_close(narrow.dx.data(), wide.dx.data(), Device::kCpu);
    expect_close(narrow.dw.data(), wide.dw.data(), Device::kCpu);
  }
}

TEST(Linear, BitsDoNotDependOnThreads) {
  for (const Sizes& sizes : kLarge)
    expect_bits_independent_of_threads<float>([&] {
      Products<float> p(sizes);
      p.forward();
      p.backward(false);
      std::vector<float> all = p.y.data();
      all.insert(all.end(), p.dx.data().begin(), p.dx.data().end());
      all.insert(all.end(), p.dw.data().begin(), p.dw.data().end());
      return all;
    });
}

TEST(Linear, LeavesTheNumberOfThreadsAlone) {
  const Threads threads(3);
  for (const Sizes& sizes : kLarge) {
    Products<float> p(sizes);
    p.forward();
    EXPECT_EQ(omp_get_max_threads(), 3);
  }
}

TEST(Linear, RefusesWrongShapesAndTypes) {
  Products<float> p({3, 4, 5});
  Values<float> narrow({3, 4});
  Values<double> wide({3, 5});
  Values<int32_t> integers({5, 4});
  expect_error([&] { linear_forward(narrow.tensor(), p.x.tensor(), p.w.tensor(), p.stream); },
               "[linear_forward] y: expected f32 [3, 5], got f32 [3, 4]");
  expect_error([&] { linear_forward(wide.tensor(), p.x.tensor(), p.w.tensor(), p.stream); },
               "y: expected f32 [3, 5], got f64 [3, 5]");
  expect_error([&] { linear_backward_input(p.dx.tensor(), narrow.tensor(), p.w.tensor(), false, p.stream); },
               "[linear_backward_input] dy: expected f32 [3, 5]");
  expect_error([&] { linear_backward_weight(integers.tensor(), p.dy.tensor(), p.x.tensor(), p.stream); },
               "[linear_backward_weight] x: expected i32");
  expect_error([&] { linear_forward(p.y.tensor(), p.x.tensor().reshape({12}), p.w.tensor(), p.stream); },
               "x: expected 2 dimensions, got [12]");
}

TEST(Linear, RefusesAnotherDevice) {
  Products<float> p({3, 4, 5});
  Stream cuda(Device::kCuda);
  expect_error([&] { linear_forward(p.y.tensor(), p.x.tensor(), p.w.tensor(), cuda); },
               "[linear_forward] expected a stream on the cpu, got cuda");
  const Tensor elsewhere(nullptr, DType::kF32, {3, 4}, Device::kCuda);
  expect_error([&] { linear_forward(p.y.tensor(), elsewhere, p.w.tensor(), p.stream); },
               "expected tensors on the cpu, got cuda [3, 4]");
}

}  // namespace
}  // namespace fern::testing
