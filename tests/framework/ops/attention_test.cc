#include "framework/ops/attention.h"

#include "tests/framework/ops/attention_cases.h"
#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

template <typename T>
struct Attention {
  explicit Attention(const Case& c)
      : sizes(c),
        tokens(static_cast<int64_t>(starts_of(c.documents).size())),
        row((c.heads + 2 * c.kv_heads) * c.head_size),
        qkv(Values<T>::random({tokens, row}, 1)),
        d_o(Values<T>::random({tokens, c.heads * c.head_size}, 2)),
        o({tokens, c.heads * c.head_size}),
        lse({c.heads, tokens}),
        delta({c.heads, tokens}),
        dqkv(Values<T>::random({tokens, row}, 3)),
        causal(starts_of(c.documents)) {}

  void forward() {
    attention_forward(o.tensor(), lse.tensor(), qkv.tensor(), seen(), sizes.heads, sizes.kv_heads, stream);
  }
  void backward() {
    attention_backward({dqkv.tensor(), dqkv.tensor(), delta.tensor()}, d_o.tensor(), o.tensor(), lse.tensor(),
                       qkv.tensor(), seen(), sizes.heads, sizes.kv_heads, stream);
  }
  SeenKeys seen() { return causal.seen(qkv.tensor()); }
  // What row t keeps for head (0..H-1 queries, then G keys, then G values).
  T* head(int64_t t, int64_t index) { return qkv.data().data() + t * row + index * sizes.head_size; }

  Stream stream;
  Case sizes;
  int64_t tokens, row;
  Values<T> qkv, d_o, o, lse, delta, dqkv;
  Causal causal;
};

double inner(const double* a, const double* b, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

// The definition, with all scores of a query at once.
void plain_attention(std::vector<double>& o, std::vector<double>& lse, Attention<double>& a) {
  const Case& s = a.sizes;
  for (int64_t h = 0; h < s.heads; ++h)
    for (int64_t t = 0; t < a.tokens; ++t) {
      const int64_t kv = h / (s.heads / s.kv_heads);
      double sum = 0;
      std::vector<double> total(static_cast<size_t>(s.head_size));
      for (int64_t k = a.causal.first[t]; k <= t; ++k) {
        const double score =
            inner(a.head(t, h), a.head(k, s.heads + kv), s.head_size) / std::sqrt(s.head_size);
        sum += std::exp(score);
        for (size_t i = 0; i < total.size(); ++i)
          total[i] += std::exp(score) * a.head(k, s.heads + s.kv_heads + kv)[i];
      }
      lse[static_cast<size_t>(h * a.tokens + t)] = std::log(sum);
      for (size_t i = 0; i < total.size(); ++i)
        o[static_cast<size_t>((t * s.heads + h) * s.head_size) + i] = total[i] / sum;
    }
}

TEST(Attention, ForwardIsTheFormula) {
  for (const std::vector<Case>& cases : {kSmall, kLarge})
    for (const Case& sizes : cases) {
      SCOPED_TRACE(sizes);
      Attention<double> op(sizes);
      op.forward();
      std::vector<double> o(op.o.data().size()), lse(op.lse.data().size());
      plain_attention(o, lse, op);
      for (size_t i = 0; i < o.size(); ++i) ASSERT_NEAR(op.o.data()[i], o[i], 1e-11) << i;
      for (size_t i = 0; i < lse.size(); ++i) ASSERT_NEAR(op.lse.data()[i], lse[i], 1e-11) << i;
    }
}

TEST(Attention, BackwardMatchesFiniteDifference) {
  for (const Case& sizes : kSmall) {
    SCOPED_TRACE(sizes);
    Attention<double> op(sizes);
    op.forward();
    op.backward();
    expect_gradient([&] { return op.forward(), dot(op.o.data(), op.d_o.data()); }, op.qkv.data(),
                    op.dqkv.data());
  }
}

// Differences along random directions: one costs two forwards, whatever the size.
TEST(Attention, BackwardMatchesFiniteDifferenceAcrossTiles) {
  for (const Case& sizes : kLarge) {
    SCOPED_TRACE(sizes);
    Attention<double> op(sizes);
    op.forward();
    op.backward();
    const std::vector<double> qkv = op.qkv.data();
    for (uint64_t seed = 10; seed < 14; ++seed) {
      const std::vector<double> direction = Values<double>::random({op.tokens, op.row}, seed).data();
      const auto loss_at = [&](double step) {
        for (size_t i = 0; i < qkv.size(); ++i) op.qkv.data()[i] = qkv[i] + step * direction[i];
        op.forward();
        return dot(op.o.data(), op.d_o.data());
      };
      const double slope = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5;
      EXPECT_NEAR(slope, dot(direction, op.dqkv.data()), 1e-6 * (1 + std::abs(slope)));
    }
  }
}

TEST(Attention, DocumentsDoNotSeeEachOther) {
  Attention<float> packed({4, 2, 8, {70, 5, 90}});
  packed.forward();
  packed.backward();
  int64_t begin = 0;
  for (int64_t length : packed.sizes.documents) {
    Attention<float> alone({4, 2, 8, {length}});
    std::copy_n(packed.head(begin, 0), length * alone.row, alone.qkv.data().begin());
    const int64_t out = 4 * 8;
    std::copy_n(packed.d_o.data().begin() + begin * out, length * out, alone.d_o.data().begin());
    alone.forward();
    alone.backward();
    for (int64_t i = 0; i < length * out; ++i) ASSERT_NEAR(alone.o[i], packed.o[begin * out + i], 2e-6);
    for (int64_t i = 0; i < length * alone.row; ++i)
      ASSERT_NEAR(alone.dqkv[i], packed.dqkv[begin * alone.row + i], 1e-5);
    begin += length;
  }
}

TEST(Attention, LargeScoresStayFinite) {
  Attention<float> op({1, 1, 8, {100}});
  for (float& value : op.qkv.data()) value *= 100;
  op.forward();
  op.backward();
  for (float value : op.o.data()) ASSERT_TRUE(std::isfinite(value));
  for (float value : op.dqkv.data()) ASSERT_TRUE(std::isfinite(value));
}

TEST(Attention, F32MatchesF64) {
  for (const Case& sizes : kLarge) {
    SCOPED_TRACE(sizes);
    Attention<float> narrow(sizes);
    Attention<double> wide(sizes);
    narrow.forward(), wide.forward();
    narrow.backward(), wide.backward();
    expect_close(narrow.o.data(), wide.o.data(), Device::kCpu);
    expect_close(narrow.lse.data(), wide.lse.data(), Device::kCpu);
    expect_close(narrow.dqkv.data(), wide.dqkv.data(), Device::kCpu);
  }
}

TEST(Attention, BitsDoNotDependOnThreads) {
  for (const Case& sizes : kLarge)
    expect_bits_independent_of_threads<float>([&] {
      Attention<float> op(sizes);
      op.forward();
      op.backward();
      std::vector<float> all = op.o.data();
      all.insert(all.end(), op.lse.data().begin(), op.lse.data().end());
      all.insert(all.end(), op.dqkv.data().begin(), op.dqkv.data().end());
      return all;
    });
}

TEST(Attention, DecodeIsTheLastRowOfForward) {
  for (const Case& sizes : {Case{4, 2, 16, {37}}, Case{3, 1, 10, {1}}}) {
    Attention<float> op(sizes);
    op.forward();
    const int64_t length = op.tokens, kv_size = sizes.kv_heads * sizes.head_size;
    Values<float> keys({length + 3, kv_size}), values({length + 3, kv_size}),
        o({sizes.heads * sizes.head_size});
    for (int64_t t = 0; t < length; ++t) {
      std::copy_n(op.head(t, sizes.heads), kv_size, keys.data().begin() + t * kv_size);
      std::copy_n(op.head(t, sizes.heads + sizes.kv_heads), kv_size, values.data().begin() + t * kv_size);
    }
    const Tensor q = Tensor::of(op.head(length - 1, 0), {sizes.heads * sizes.head_size});
    attention_decode(o.tensor(), q, keys.tensor(), values.tensor(), length, sizes.heads, sizes.kv_heads,
                     op.stream);
    for (int64_t i = 0; i < o.tensor().elements(); ++i)
      EXPECT_NEAR(o[i], op.o[(length - 1) * o.tensor().elements() + i], 2e-6);
  }
}

TEST(Attention, DecodeBitsDoNotDependOnThreads) {
  Values<float> q = Values<float>::random({8 * 16}, 1), keys = Values<float>::random({99, 2 * 16}, 2),
                values = Values<float>::random({99, 2 * 16}, 3);
  expect_bits_independent_of_threads<float>([&] {
    Stream stream;
    Values<float> o({8 * 16});
    attention_decode(o.tensor(), q.tensor(), keys.tensor(), values.tensor(), 97, 8, 2, stream);
    return o.data();
  });
}

TEST(Attention, RefusesWrongShapesDocumentsAndDevices) {
  Attention<float> op({4, 2, 8, {3, 4}});
  expect_error(
      [&] {
        attention_forward(op.o.tensor(), op.delta.tensor().reshape({7, 4}), op.qkv.tensor(), op.seen(), 4, 2,
                          op.stream);
      },
      "[attention_forward] lse: expected f32 [4, 7], got f32 [7, 4]");
  expect_error(
      [&] { attention_forward(op.o.tensor(), op.lse.tensor(), op.qkv.tensor(), op.seen(), 4, 3, op.stream); },
      "expected kv_heads that divide heads");
  expect_error(
      [&] {
        attention_backward({op.qkv.tensor(), op.qkv.tensor(), op.delta.tensor()}, op.o.tensor(),
                           op.o.tensor(), op.lse.tensor(), op.qkv.tensor(),
                           {op.qkv.tensor(), op.seen().first_T.rows(0, 3), op.seen().end_T}, 4, 2, op.stream);
      },
      "[attention_backward] first: expected i32 [7], got i32 [3]");
  expect_error(
      [&] {
        attention_backward({op.qkv.tensor(), op.qkv.tensor().rows(0, 6), op.delta.tensor()}, op.o.tensor(),
                           op.o.tensor(), op.lse.tensor(), op.qkv.tensor(), op.seen(), 4, 2, op.stream);
      },
      "[attention_backward] dkv: expected 7 rows, as kv has, got 6");
  expect_error(
      [&] {
        attention_forward(op.o.tensor(), op.lse.tensor(), op.qkv.tensor(),
                          {op.o.tensor().reshape({14, 16}), op.seen().first_T, op.seen().end_T}, 4, 2,
                          op.stream);
      },
      "[attention_forward] kv: expected rows of 32 values or more, got 16");
  op.causal.first.data() = {0, 0, 0, 3, 2, 3, 3};
  expect_error([&] { op.forward(); }, "first[4]: expected 3..5, got 2");
  op.causal.first.data() = {0, 0, 0, 3, 3, 3, 3};
  op.causal.end[6] = 8;
  expect_error([&] { op.forward(); }, "end[6]: expected 6..7, got 8");
  op.causal.end[6] = 5;
  expect_error([&] { op.forward(); }, "end[6]: expected 6..7, got 5");
  op.stream = Stream(Device::kCuda);
  expect_error([&] { op.forward(); }, "expected a stream on the cpu");
}

TEST(Attention, DecodeRefusesALengthOutsideTheCache) {
  Stream stream;
  Values<float> q({8}), o({8}), keys({5, 8}), values({5, 8});
  for (int64_t length : {0, 6})
    expect_error(
        [&] {
          attention_decode(o.tensor(), q.tensor(), keys.tensor(), values.tensor(), length, 1, 1, stream);
        },
        fmt::format("[attention_decode] expected a length in 1..5, got {}", length));
}

}  // namespace
}  // namespace fern::testing
