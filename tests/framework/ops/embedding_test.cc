#include "framework/ops/embedding.h"

#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

template <typename T>
struct Embedding {
  Embedding(int64_t vocabulary, int64_t hidden, const std::vector<int32_t>& ids)
      : w(Values<T>::random({vocabulary, hidden}, 1)),
        dw({vocabulary, hidden}),
        dx(Values<T>::random({static_cast<int64_t>(ids.size()), hidden}, 2)),
        x({static_cast<int64_t>(ids.size()), hidden}),
        input(Values<int32_t>::from(ids, {static_cast<int64_t>(ids.size())})) {}
  void forward() { embedding_forward(x.tensor(), w.tensor(), input.tensor(), stream); }
  void backward() { embedding_backward(dw.tensor(), dx.tensor(), input.tensor(), stream); }

  Stream stream;
  Values<T> w, dw, dx, x;
  Values<int32_t> input;
};

const std::vector<int32_t> kIds = {4, 0, 4, 2, 4, 0};

TEST(Embedding, ForwardCopiesRows) {
  Embedding<float> op(5, 3, kIds);
  op.forward();
  for (int64_t t = 0; t < 6; ++t)
    for (int64_t d = 0; d < 3; ++d) EXPECT_EQ(op.x[t * 3 + d], op.w[op.input[t] * 3 + d]);
}

TEST(Embedding, BackwardMatchesFiniteDifference) {
  Embedding<double> op(5, 67, kIds);
  op.backward();
  expect_gradient([&] { return op.forward(), dot(op.x.data(), op.dx.data()); }, op.w.data(), op.dw.data());
}

TEST(Embedding, GradientsAccumulateInOrderOfTokens) {
  Embedding<float> op(5, 1, {1, 1, 1});
  op.dw[1] = 1e8F;
  op.dx.data() = {-1e8F, 3.0F, 0.5F};
  op.backward();
  EXPECT_EQ(op.dw[1], 3.5F);
}

TEST(Embedding, F32MatchesF64) {
  Embedding<float> narrow(5, 67, kIds);
  Embedding<double> wide(5, 67, kIds);
  narrow.backward(), wide.backward();
  expect_close(narrow.dw.data(), wide.dw.data(), Device::kCpu);
}

TEST(Embedding, BitsDoNotDependOnThreads) {
  std::vector<int32_t> ids(300);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * i % 7);
  expect_bits_independent_of_threads<float>([&] {
    Embedding<float> op(7, 131, ids);
    op.forward();
    op.backward();
    std::vector<float> all = op.x.data();
    all.insert(all.end(), op.dw.data().begin(), op.dw.data().end());
    return all;
  });
}

TEST(Embedding, SharesOfTheTableGiveRowsOrZeros) {
  Embedding<float> op(5, 3, kIds);
  op.forward();
  const std::vector<float> whole = op.x.data();
  std::vector<float> sum(whole.size());
  for (const auto& [begin, end] : {std::pair{0, 2}, {2, 5}}) {
    embedding_forward_rows(op.x.tensor(), op.w.tensor().rows(begin, end), op.input.tensor(), begin,
                           op.stream);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += op.x.data()[i];
    const bool here = begin <= kIds[1] && kIds[1] < end;
    EXPECT_EQ(op.x[3] != 0, here);
  }
  EXPECT_EQ(sum, whole);
}

TEST(Embedding, RefusesIdsOutsideTheVocabulary) {
  Embedding<float> op(5, 3, {0, 4, 5});
  expect_error([&] { op.forward(); }, "[embedding_forward] input[2]: expected an id in 0..4, got 5");
  op.input[2] = -1;
  expect_error([&] { op.backward(); }, "[embedding_backward] input[2]: expected an id in 0..4, got -1");
}

TEST(Embedding, RefusesWrongShapesAndDevices) {
  Embedding<float> op(5, 3, kIds);
  expect_error(
      [&] { embedding_forward(op.x.tensor(), op.w.tensor(), op.input.tensor().rows(0, 3), op.stream); },
      "input: expected i32 [6], got i32 [3]");
  expect_error(
      [&] {
        embedding_forward(op.x.tensor(), op.w.tensor().reshape({3, 5}), op.input.tensor(), op.stream);
      },
      "w: expected f32 [3, 3], got f32 [3, 5]");
  op.stream = Stream(Device::kCuda);
  expect_error([&] { op.forward(); }, "expected a stream on the cpu");
}

}  // namespace
}  // namespace fern::testing
