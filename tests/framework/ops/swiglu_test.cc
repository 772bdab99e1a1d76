#include "framework/ops/swiglu.h"

#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

template <typename T>
struct SwiGlu {
  SwiGlu(int64_t tokens, int64_t ffn)
      : gate_up(Values<T>::random({tokens, 2 * ffn}, 1)),
        dh(Values<T>::random({tokens, ffn}, 2)),
        h({tokens, ffn}),
        dgate_up({tokens, 2 * ffn}) {}
  void forward() { swiglu_forward(h.tensor(), gate_up.tensor(), stream); }
  void backward() { swiglu_backward(dgate_up.tensor(), dh.tensor(), gate_up.tensor(), stream); }

  Stream stream;
  Values<T> gate_up, dh, h, dgate_up;
};

TEST(SwiGlu, ForwardIsTheFormula) {
  SwiGlu<double> op(1, 2);
  op.gate_up.data() = {0.5, -2, 3, 4};
  op.forward();
  EXPECT_NEAR(op.h[0], 0.5 / (1 + std::exp(-0.5)) * 3, 1e-15);
  EXPECT_NEAR(op.h[1], -2 / (1 + std::exp(2.0)) * 4, 1e-15);
}

TEST(SwiGlu, BackwardMatchesFiniteDifference) {
  for (const auto& [tokens, ffn] : {std::pair{1, 1}, {3, 5}, {2, 37}}) {
    SwiGlu<double> op(tokens, ffn);
    op.backward();
    const auto loss = [&] { return op.forward(), dot(op.h.data(), op.dh.data()); };
    expect_gradient(loss, op.gate_up.data(), op.dgate_up.data());
  }
}

TEST(SwiGlu, BackwardMayOverwriteItsInput) {
  SwiGlu<float> op(3, 37);
  op.backward();
  swiglu_backward(op.gate_up.tensor(), op.dh.tensor(), op.gate_up.tensor(), op.stream);
  EXPECT_EQ(op.gate_up.data(), op.dgate_up.data());
}

TEST(SwiGlu, LargeGatesStayFinite) {
  SwiGlu<float> op(1, 2);
  op.gate_up.data() = {-1000, 1000, 2, 3};
  op.forward();
  op.backward();
  EXPECT_NEAR(op.h[0], 0, 1e-30);
  EXPECT_EQ(op.h[1], 3000);
  for (float value : op.dgate_up.data()) EXPECT_TRUE(std::isfinite(value));
}

TEST(SwiGlu, F32MatchesF64) {
  SwiGlu<float> narrow(17, 131);
  SwiGlu<double> wide(17, 131);
  narrow.forward(), wide.forward();
  narrow.backward(), wide.backward();
  expect_close(narrow.h.data(), wide.h.data(), Device::kCpu);
  expect_close(narrow.dgate_up.data(), wide.dgate_up.data(), Device::kCpu);
}

TEST(SwiGlu, BitsDoNotDependOnThreads) {
  expect_bits_independent_of_threads<float>([] {
    SwiGlu<float> op(301, 131);
    op.forward();
    op.backward();
    std::vector<float> all = op.h.data();
    all.insert(all.end(), op.dgate_up.data().begin(), op.dgate_up.data().end());
    return all;
  });
}

TEST(SwiGlu, RefusesWrongShapesAndDevices) {
  SwiGlu<float> op(3, 4);
  expect_error([&] { swiglu_forward(op.h.tensor(), op.dh.tensor(), op.stream); },
               "[swiglu_forward] gate_up: expected f32 [3, 8], got f32 [3, 4]");
  expect_error([&] { swiglu_backward(op.h.tensor(), op.dh.tensor(), op.gate_up.tensor(), op.stream); },
               "[swiglu_backward] dgate_up: expected f32 [3, 8]");
  op.stream = Stream(Device::kCuda);
  expect_error([&] { op.forward(); }, "expected a stream on the cpu");
}

}  // namespace
}  // namespace fern::testing
