#include "framework/ops/cross_entropy.h"

#include <limits>

#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

template <typename T>
struct CrossEntropy {
  CrossEntropy(int64_t rows, int64_t vocabulary)
      : logits(Values<T>::random({rows, vocabulary}, 1)),
        weight(Values<T>::random({rows}, 2)),
        loss({rows}),
        target({rows}) {
    for (int64_t c = 0; c < rows; ++c) target[c] = static_cast<int32_t>(c % 3 == 1 ? -1 : c * 7 % vocabulary);
  }
  void forward() { cross_entropy_forward(loss.tensor(), logits.tensor(), target.tensor(), stream); }
  void forward_backward() {
    cross_entropy_forward_backward(loss.tensor(), logits.tensor(), target.tensor(), weight.tensor(), stream);
  }

  Stream stream;
  Values<T> logits, weight;
  Values<double> loss;
  Values<int32_t> target;
};

TEST(CrossEntropy, ForwardIsTheFormula) {
  CrossEntropy<double> op(2, 3);
  op.logits.data() = {1, 2, 4, 0, 0, 0};
  op.target.data() = {1, -1};
  op.forward();
  EXPECT_NEAR(op.loss[0], std::log(std::exp(1.0) + std::exp(2.0) + std::exp(4.0)) - 2, 1e-14);
  EXPECT_EQ(op.loss[1], 0.0);
}

TEST(CrossEntropy, BackwardMatchesFiniteDifference) {
  for (const auto& [rows, vocabulary] : {std::pair{1, 1}, {4, 5}, {3, 37}}) {
    CrossEntropy<double> op(rows, vocabulary);
    Values<double> logits = op.logits;
    op.forward_backward();
    const std::vector<double> gradient = op.logits.data();
    const auto loss = [&] {
      op.logits = logits;
      op.forward();
      return dot(op.loss.data(), op.weight.data());
    };
    expect_gradient(loss, logits.data(), gradient);
  }
}

TEST(CrossEntropy, BothReportTheSameLoss) {
  CrossEntropy<float> op(7, 1500);
  op.forward();
  const std::vector<double> loss = op.loss.data();
  op.forward_backward();
  for (size_t c = 0; c < loss.size(); ++c) EXPECT_NEAR(op.loss.data()[c], loss[c], 1e-6);
}

TEST(CrossEntropy, LargeLogitsStayFinite) {
  CrossEntropy<float> op(1, 3);
  op.logits.data() = {1e30F, 0, -1e30F};
  op.target.data() = {0};
  op.forward_backward();
  EXPECT_EQ(op.loss[0], 0.0);
  EXPECT_EQ(op.logits.data(), (std::vector<float>{0, 0, 0}));
}

TEST(CrossEntropy, NonFiniteLogitsGiveANonFiniteLoss) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    CrossEntropy<float> op(1, 40);
    op.target.data() = {3};
    op.logits[17] = bad;
    op.forward();
    EXPECT_FALSE(std::isfinite(op.loss[0]));
    op.forward_backward();
    EXPECT_FALSE(std::isfinite(op.loss[0]));
  }
}

TEST(CrossEntropy, F32MatchesF64) {
  CrossEntropy<float> narrow(9, 16001);
  CrossEntropy<double> wide(9, 16001);
  narrow.forward_backward(), wide.forward_backward();
  expect_close(narrow.logits.data(), wide.logits.data(), Device::kCpu);
  for (int64_t c = 0; c < 9; ++c) EXPECT_NEAR(narrow.loss[c], wide.loss[c], 1e-6 * wide.loss[c]);
}

TEST(CrossEntropy, BitsDoNotDependOnThreads) {
  expect_bits_independent_of_threads<float>([] {
    CrossEntropy<float> op(19, 1111);
    op.forward_backward();
    return op.logits.data();
  });
  expect_bits_independent_of_threads<double>([] {
    CrossEntropy<float> op(19, 1111);
    op.forward();
    return op.loss.data();
  });
}

TEST(CrossEntropy, RefusesTargetsOutsideTheVocabulary) {
  CrossEntropy<float> op(3, 4);
  op.target.data() = {0, -1, 4};
  expect_error([&] { op.forward(); }, "[cross_entropy_forward] target[2]: expected -1..3, got 4");
  op.target.data() = {0, -2, 3};
  expect_error([&] { op.forward_backward(); }, "target[1]: expected -1..3, got -2");
}

TEST(CrossEntropy, RefusesWrongShapesAndDevices) {
  CrossEntropy<float> op(3, 4);
  Values<float> narrow_loss({3});
  expect_error(
      [&] { cross_entropy_forward(narrow_loss.tensor(), op.logits.tensor(), op.target.tensor(), op.stream); },
      "loss: expected f64 [3], got f32 [3]");
  expect_error(
      [&] {
        cross_entropy_forward_backward(op.loss.tensor(), op.logits.tensor(), op.target.tensor(),
                                       op.loss.tensor(), op.stream);
      },
      "weight: expected f32 [3], got f64 [3]");
  op.stream = Stream(Device::kCuda);
  expect_error([&] { op.forward(); }, "expected a stream on the cpu");
}

// The vocabulary cut into shares, each with a copy of its columns.
std::vector<double> loss_and_gradient_of_shares(CrossEntropy<double>& whole,
                                                const std::vector<int64_t>& begins) {
  const int64_t rows = whole.logits.tensor().dim(0), vocabulary = whole.logits.tensor().dim(1);
  const auto ranks = static_cast<int64_t>(begins.size()) - 1;
  Values<double> stats({ranks, rows, 3}), scale({rows, 2});
  std::vector<double> result = whole.loss.data();
  const auto for_each_share = [&](auto&& work) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const int64_t begin = begins[static_cast<size_t>(rank)], end = begins[static_cast<size_t>(rank) + 1];
      Values<double> logits({rows, end - begin});
      Values<int32_t> target({rows});
      for (int64_t c = 0; c < rows; ++c) {
        for (int64_t v = begin; v < end; ++v)
          logits[c * (end - begin) + v - begin] = whole.logits[c * vocabulary + v];
        target[c] = whole.target[c] - static_cast<int32_t>(begin);
      }
      work(rank, logits, target);
    }
  };
  for_each_share([&](int64_t rank, Values<double>& logits, Values<int32_t>& target) {
    const Tensor own = stats.tensor().rows(rank, rank + 1).reshape({rows, 3});
    cross_entropy_stats(own, logits.tensor(), target.tensor(), whole.stream);
  });
  cross_entropy_join(whole.loss.tensor(), scale.tensor(), stats.tensor(), whole.stream);
  result = whole.loss.data();
  for_each_share([&](int64_t, Values<double>& logits, Values<int32_t>& target) {
    cross_entropy_backward(logits.tensor(), scale.tensor(), target.tensor(), whole.weight.tensor(),
                           whole.stream);
    result.insert(result.end(), logits.data().begin(), logits.data().end());
  });
  return result;
}

TEST(CrossEntropy, SharesOfTheVocabularyGiveTheWhole) {
  constexpr int64_t kRows = 5, kVocabulary = 19;
  for (const std::vector<int64_t>& begins :
       {std::vector<int64_t>{0, 19}, std::vector<int64_t>{0, 10, 19}, std::vector<int64_t>{0, 1, 7, 19}}) {
    CrossEntropy<double> op(kRows, kVocabulary);
    for (int64_t c = 0; c < kRows; ++c) op.target[c] = static_cast<int32_t>(c * 7 % kVocabulary);
    op.logits[3] = 700;  // e^700 overflows where it is not taken from the largest of all
    const std::vector<double> shares = loss_and_gradient_of_shares(op, begins);
    op.forward_backward();
    for (int64_t c = 0; c < kRows; ++c) EXPECT_NEAR(shares[static_cast<size_t>(c)], op.loss[c], 1e-12);
    size_t next = kRows;
    for (size_t rank = 0; rank + 1 < begins.size(); ++rank)
      for (int64_t c = 0; c < kRows; ++c)
        for (int64_t v = begins[rank]; v < begins[rank + 1]; ++v)
          EXPECT_NEAR(shares[next++], op.logits[c * kVocabulary + v], 1e-12);
    EXPECT_EQ(next, shares.size());
  }
}

}  // namespace
}  // namespace fern::testing
