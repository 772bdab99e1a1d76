#include "framework/ops/token_permutation.h"

#include <map>
#include <numeric>

#include "framework/ops/swiglu.h"
#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

struct Permuted {
  Values<int32_t> expert, first, choice, row;
  Stream stream;
  Permuted(int64_t tokens, int64_t experts, int64_t active)
      : expert({tokens, active}), first({experts + 1}), choice({tokens, active}), row({tokens, active}) {}
  TokenPermutation permutation() { return {first.tensor(), choice.tensor(), row.tensor()}; }
  void permute(int64_t capacity) { permute_tokens(permutation(), expert.tensor(), capacity, stream); }
  void permute() { permute(expert.tensor().dim(0)); }
};

// How tokens choose.
enum class Choice { kEven, kSkewed, kAllToOne, kSomeEmpty, kSomePadding };

// K different experts for each token.
void fill(Permuted& op, int64_t experts, Choice choice, uint64_t seed) {
  const int64_t tokens = op.expert.tensor().dim(0), active = op.expert.tensor().dim(1);
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<std::pair<double, int32_t>> order;
    for (int32_t e = 0; e < experts; ++e) {
      double rank = random_uniform(seed, Purpose::kTest, static_cast<uint64_t>(t), static_cast<uint32_t>(e));
      if (choice == Choice::kSkewed) rank += 0.3 * e;
      if (choice == Choice::kAllToOne && e == experts - 1) rank -= 2;
      if (choice == Choice::kSomeEmpty && e % 2 == 0) rank += 2;
      order.emplace_back(rank, e);
    }
    std::sort(order.begin(), order.end());
    const bool padding = choice == Choice::kSomePadding && t % 3 == 0;
    for (int64_t k = 0; k < active; ++k)
      op.expert[t * active + k] = padding ? -1 : order[static_cast<size_t>(k)].second;
  }
}

// Every choice has exactly the row that is its own, rows of an expert are its tokens in order, and what an
// expert cannot take are its last ones.
void expect_a_permutation(Permuted& op, int64_t experts, int64_t capacity) {
  const int64_t choices = op.expert.tensor().elements(), active = op.expert.tensor().dim(1);
  ASSERT_EQ(op.first[0], 0);
  std::vector<int64_t> taken(static_cast<size_t>(experts));
  std::map<int32_t, int64_t> rows;
  for (int64_t i = 0; i < choices; ++i) {
    const int32_t e = op.expert[i], row = op.row[i];
    if (e < 0) {
      ASSERT_EQ(row, -1);
      continue;
    }
    auto& count = taken[static_cast<size_t>(e)];
    if (count == capacity) {
      ASSERT_EQ(row, -1) << "more than the capacity of expert " << e;
      continue;
    }
    ASSERT_EQ(row, op.first[e] + count++) << "choice " << i;
    ASSERT_LT(row, op.first[e + 1]);
    ASSERT_EQ(op.choice[row], i);
    ASSERT_EQ(++rows[row], 1) << "row " << row << " is counted twice";
  }
  const int64_t kept = std::accumulate(taken.begin(), taken.end(), int64_t{0});
  ASSERT_EQ(op.permutation().rows(), kept);
  ASSERT_LE(kept, op.expert.tensor().dim(0) * active);
  for (int64_t e = 0; e < experts; ++e)
    ASSERT_EQ(op.first[e + 1] - op.first[e], taken[static_cast<size_t>(e)]);
}

TEST(TokenPermutation, NoTokenIsLostOrCountedTwice) {
  uint64_t seed = 1;
  for (const auto& [experts, active] : {std::pair{1, 1}, {2, 1}, {2, 2}, {5, 3}, {8, 2}, {64, 8}})
    for (const Choice choice :
         {Choice::kEven, Choice::kSkewed, Choice::kAllToOne, Choice::kSomeEmpty, Choice::kSomePadding})
      for (const int64_t tokens : {0, 1, 7, 130})
        for (const int64_t capacity : {tokens, int64_t{3}, int64_t{1}}) {
          Permuted op(tokens, experts, active);
          fill(op, experts, choice, seed++);
          op.permute(capacity);
          expect_a_permutation(op, experts, capacity);
        }
}

TEST(TokenPermutation, CapacityIsTheEvenShareTimesTheFactorRoundedUp) {
  EXPECT_EQ(expert_capacity(0, 100, 2, 8), 100);
  EXPECT_EQ(expert_capacity(1, 100, 2, 8), 25);
  EXPECT_EQ(expert_capacity(1.25, 100, 2, 8), 32);
  EXPECT_EQ(expert_capacity(9, 100, 2, 8), 100) << "an expert gets each token once";
  EXPECT_EQ(expert_capacity(1e300, 100, 2, 8), 100);
  EXPECT_EQ(expert_capacity(1, 0, 2, 8), 0);
}

TEST(TokenPermutation, RefusesAnExpertThatThereIsNot) {
  Permuted op(2, 3, 1);
  op.expert.data() = {0, 3};
  expect_error([&] { op.permute(); }, "[permute_tokens] choice 1: expected an expert in -1..2, got 3");
}

TEST(TokenPermutation, CombiningWhatWasGatheredCountsEachTokenOnceAChoice) {
  for (const Choice choice : {Choice::kEven, Choice::kAllToOne, Choice::kSomePadding}) {
    Permuted op(50, 6, 3);
    fill(op, 6, choice, 4);
    op.permute();
    Values<double> x = Values<double>::random({50, 70}, 1), rows({op.permutation().rows(), 70}), y({50, 70});
    gather_rows(rows.tensor(), x.tensor(), op.permutation(), op.stream);
    combine_rows(y.tensor(), rows.tensor(), op.permutation(), false, op.stream);
    for (int64_t t = 0; t < 50; ++t) {
      const int kept = op.expert[3 * t] < 0 ? 0 : 3;
      for (int64_t d = 70 * t; d < 70 * (t + 1); ++d) ASSERT_NEAR(y[d], kept * x[d], 1e-13);
    }
  }
}

TEST(TokenPermutation, GatherAndCombineAreEachOthersGradient) {
  Permuted op(20, 5, 2);
  fill(op, 5, Choice::kSkewed, 9);
  op.permute(6);
  Values<double> x = Values<double>::random({20, 65}, 1), gathered({op.permutation().rows(), 65});
  Values<double> rows = Values<double>::random({op.permutation().rows(), 65}, 2), combined({20, 65});
  gather_rows(gathered.tensor(), x.tensor(), op.permutation(), op.stream);
  combine_rows(combined.tensor(), rows.tensor(), op.permutation(), false, op.stream);
  EXPECT_NEAR(dot(gathered.data(), rows.data()), dot(x.data(), combined.data()), 1e-10);
}

TEST(TokenPermutation, RowsHaveTheGatesOfTheirChoices) {
  Permuted op(3, 2, 2);
  op.expert.data() = {1, 0, -1, -1, 0, 1};
  op.permute(1);
  Values<double> gate({3, 2}), of_rows({2}), back({3, 2});
  gate.data() = {1, 2, 3, 4, 5, 6};
  gather_gates(of_rows.tensor(), gate.tensor(), op.permutation(), op.stream);
  EXPECT_EQ(of_rows.data(), (std::vector<double>{2, 1}));
  back.data().assign(6, 9);
  scatter_gates(back.tensor(), of_rows.tensor(), op.permutation(), op.stream);
  EXPECT_EQ(back.data(), (std::vector<double>{1, 2, 0, 0, 0, 0}));
}

TEST(TokenPermutation, CombineMayAddToWhatIsThere) {
  Permuted op(3, 2, 1);
  op.expert.data() = {1, -1, 0};
  op.permute();
  Values<float> rows({2, 1}), y({3, 1});
  rows.data() = {10, 20};
  y.data() = {1, 2, 3};
  combine_rows(y.tensor(), rows.tensor(), op.permutation(), true, op.stream);
  EXPECT_EQ(y.data(), (std::vector<float>{21, 2, 13}));
}

TEST(TokenPermutation, BitsDoNotDependOnThreads) {
  expect_bits_independent_of_threads<float>([] {
    Permuted op(400, 8, 3);
    fill(op, 8, Choice::kSkewed, 2);
    op.permute(100);
    Values<float> rows = Values<float>::random({op.permutation().rows(), 90}, 2), y({400, 90});
    combine_rows(y.tensor(), rows.tensor(), op.permutation(), false, op.stream);
    gather_rows(rows.tensor(), y.tensor(), op.permutation(), op.stream);
    std::vector<float> all = y.data();
    all.insert(all.end(), rows.data().begin(), rows.data().end());
    return all;
  });
}

template <typename T>
struct Weighted {
  int64_t rows;
  Values<T> gate_up, weight, dh, h, dgate_up, dweight;
  Stream stream;
  Weighted(int64_t r, int64_t ffn)
      : rows(r),
        gate_up(Values<T>::random({r, 2 * ffn}, 1)),
        weight(Values<T>::random({r}, 2)),
        dh(Values<T>::random({r, ffn}, 3)),
        h({r, ffn}),
        dgate_up({r, 2 * ffn}),
        dweight({r}) {}
  void forward() { weighted_swiglu_forward(h.tensor(), gate_up.tensor(), weight.tensor(), stream); }
  void backward() {
    weighted_swiglu_backward(dgate_up.tensor(), dweight.tensor(), dh.tensor(), gate_up.tensor(),
                             weight.tensor(), stream);
  }
};

TEST(WeightedSwiGlu, IsTheSwiGluTimesTheWeightOfTheRow) {
  Weighted<double> op(5, 7);
  op.forward();
  Values<double> plain({5, 7});
  swiglu_forward(plain.tensor(), op.gate_up.tensor(), op.stream);
  for (int64_t i = 0; i < 35; ++i) EXPECT_NEAR(op.h[i], plain[i] * op.weight[i / 7], 1e-14);
}

TEST(WeightedSwiGlu, BackwardMatchesFiniteDifference) {
  Weighted<double> op(5, 7);
  op.backward();
  const auto loss = [&] {
    op.forward();
    return dot(op.h.data(), op.dh.data());
  };
  expect_gradient(loss, op.gate_up.data(), op.dgate_up.data());
  expect_gradient(loss, op.weight.data(), op.dweight.data());
}

TEST(WeightedSwiGlu, F32MatchesF64) {
  Weighted<float> narrow(40, 130);
  Weighted<double> wide(40, 130);
  narrow.forward(), wide.forward();
  narrow.backward(), wide.backward();
  expect_close(narrow.h.data(), wide.h.data(), Device::kCpu);
  expect_close(narrow.dgate_up.data(), wide.dgate_up.data(), Device::kCpu);
  expect_close(narrow.dweight.data(), wide.dweight.data(), Device::kCpu);
}

TEST(WeightedSwiGlu, BitsDoNotDependOnThreads) {
  expect_bits_independent_of_threads<float>([] {
    Weighted<float> op(300, 131);
    op.forward();
    op.backward();
    std::vector<float> all = op.dgate_up.data();
    all.insert(all.end(), op.dweight.data().begin(), op.dweight.data().end());
    return all;
  });
}

}  // namespace
}  // namespace fern::testing
