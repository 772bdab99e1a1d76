// Sparse products against dense ones in f64 with the weights that do not exist set to zero.
#include "framework/sparsity/sparse_product.h"

#include <iterator>

#include "framework/core/profile.h"
#include "framework/ops/linear.h"
#include "framework/sparsity/for_each_weight.h"
#include "tests/framework/ops/op_testing.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern::testing {
namespace {

struct Case {
  int64_t tokens, inputs, outputs;
  BlockShape block;
  double density;
};

// Sizes that divide nothing, one token, blocks of every kind.
std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& [tokens, inputs, outputs] : {std::array<int64_t, 3>{1, 1, 1},
                                                {16, 40, 600},
                                                {17, 40, 600},
                                                {1, 70, 33},
                                                {63, 17, 129},
                                                {65, 130, 31},
                                                {200, 96, 160},
                                                {150, 600, 300},
                                                {333, 257, 70}})
    for (const double density : {0.03, 0.3, 0.9}) all.push_back({tokens, inputs, outputs, {}, density});
  for (const BlockShape block :
       {BlockShape{4, 4}, {8, 8}, {16, 16}, {32, 32}, {3, 5}, {1, 4}, {16, 1}, {20, 20}})
    for (const int64_t tokens : {1, 30, 64, 131})
      for (const double density : {0.1, 0.6})
        all.push_back({tokens, 7 * block.columns, 5 * block.rows, block, density});
  return all;
}

template <typename T>
class Operands {
 public:
  explicit Operands(const Case& c)
      : pattern(random_pattern(c.outputs, c.inputs, c.block, c.density, 7)),
        values(Values<Wide<T>>::from(Values<float>::random({pattern.nonzeros()}, 1).data(),
                                     {pattern.nonzeros()})),
        x(rounded({c.tokens, c.inputs}, 2)),
        dy(rounded({c.tokens, c.outputs}, 3)) {}

  // The matrix with zeros, in f64.
  Values<double> dense() {
    Values<double> w({pattern.rows(), pattern.columns()});
    for_each_weight(pattern, 0, pattern.block_rows(), [&](int64_t row, int64_t column, int64_t value) {
      w[row * pattern.columns() + column] = values[value];
    });
    return w;
  }
  static Values<T> rounded(Shape shape, uint64_t seed) {
    Values<T> result(shape);
    const std::vector<float> wide = Values<float>::random(shape, seed).data();
    std::transform(wide.begin(), wide.end(), result.data().begin(),
                   [](float v) { return narrow<T>(static_cast<Wide<T>>(v)); });
    return result;
  }
  static Values<double> wide(Values<T>& narrow_values, Shape shape) {
    Values<double> result(shape);
    std::transform(narrow_values.data().begin(), narrow_values.data().end(), result.data().begin(),
                   [](T v) { return static_cast<double>(widen(v)); });
    return result;
  }

  Pattern pattern;
  Values<Wide<T>> values;
  Values<T> x, dy;
};

// The largest difference relative to the largest value.
template <typename T>
double relative_error(Values<T>& got, Values<double>& expected) {
  double largest = 1e-30, difference = 0;
  for (size_t i = 0; i < expected.data().size(); ++i) {
    largest = std::max(largest, std::abs(expected.data()[i]));
    difference =
        std::max(difference, std::abs(static_cast<double>(widen(got.data()[i])) - expected.data()[i]));
  }
  return difference / largest;
}

template <typename T>
void expect_products_match(const Case& c, double tolerance) {
  SCOPED_TRACE(::testing::Message() << c.tokens << " tokens, " << c.outputs << " x " << c.inputs
                                    << " in blocks of " << c.block.rows << " x " << c.block.columns
                                    << ", density " << c.density);
  Operands<T> s(c);
  Stream stream;
  Values<double> w = s.dense(), x = Operands<T>::wide(s.x, {c.tokens, c.inputs}),
                 dy = Operands<T>::wide(s.dy, {c.tokens, c.outputs});
  Values<double> y_expected({c.tokens, c.outputs}), dx_expected({c.tokens, c.inputs}),
      dw_expected({c.outputs, c.inputs}), dvalues_expected({s.pattern.nonzeros()});
  linear_forward(y_expected.tensor(), x.tensor(), w.tensor(), stream);
  linear_backward_input(dx_expected.tensor(), dy.tensor(), w.tensor(), false, stream);
  linear_backward_weight(dw_expected.tensor(), dy.tensor(), x.tensor(), stream);
  for_each_weight(s.pattern, 0, s.pattern.block_rows(), [&](int64_t row, int64_t column, int64_t value) {
    dvalues_expected[value] = 0.5 + dw_expected[row * c.inputs + column];
  });
  Values<T> y({c.tokens, c.outputs}), dx({c.tokens, c.inputs});
  Values<Wide<T>> dvalues({s.pattern.nonzeros()});
  std::fill(dvalues.data().begin(), dvalues.data().end(), Wide<T>(0.5));  // it is added to
  std::fill(y.data().begin(), y.data().end(), narrow<T>(7));              // these are written
  std::fill(dx.data().begin(), dx.data().end(), narrow<T>(7));
  const SparseProduct product(s.pattern);
  product.forward(y.tensor(), s.x.tensor(), s.values.tensor(), stream);
  product.backward_input(dx.tensor(), s.dy.tensor(), s.values.tensor(), stream);
  product.backward_weight(dvalues.tensor(), s.dy.tensor(), s.x.tensor(), stream);
  EXPECT_LT(relative_error(y, y_expected), tolerance);
  EXPECT_LT(relative_error(dx, dx_expected), tolerance);
  EXPECT_LT(relative_error(dvalues, dvalues_expected), tolerance);
}

TEST(SparseProduct, F64MatchesTheMaskedDenseProduct) {
  for (const Case& c : cases()) expect_products_match<double>(c, 1e-13);
}

TEST(SparseProduct, F32MatchesTheMaskedDenseProduct) {
  for (const Case& c : cases()) expect_products_match<float>(c, 3e-6);
}

// Weights are rounded to bf16 in the products, and so are their results.
TEST(SparseProduct, BF16MatchesTheMaskedDenseProduct) {
  for (const Case& c : cases()) expect_products_match<BF16>(c, 2e-2);
}

// Over 8 MB of weights, which are read for more tokens at once. With one thread, so that it makes all
// outputs.
TEST(SparseProduct, ManyBlocksMatchTheMaskedDenseProduct) {
  const Threads threads(1);
  expect_products_match<float>({40, 1792, 1792, {4, 4}, 0.9}, 3e-6);
  expect_products_match<BF16>({40, 2304, 2304, {4, 4}, 0.95}, 2e-2);
}

template <typename T>
void expect_independent_of_threads() {
  for (const BlockShape block : {BlockShape{}, {4, 4}, {16, 16}}) {
    const Case c{333, 192, 320, block, 0.2};
    expect_bits_independent_of_threads<Wide<T>>([&] {
      Operands<T> s(c);
      Values<T> y({c.tokens, c.outputs}), dx({c.tokens, c.inputs});
      Stream stream;
      const SparseProduct product(s.pattern);
      product.forward(y.tensor(), s.x.tensor(), s.values.tensor(), stream);
      product.backward_input(dx.tensor(), s.dy.tensor(), s.values.tensor(), stream);
      std::vector<Wide<T>> all;
      for (const std::vector<T>& values : {y.data(), dx.data()})
        std::transform(values.begin(), values.end(), std::back_inserter(all), [](T v) { return widen(v); });
      return all;
    });
    expect_bits_independent_of_threads<Wide<T>>([&] {
      Operands<T> s(c);
      Values<Wide<T>> dvalues({s.pattern.nonzeros()});
      Stream stream;
      SparseProduct(s.pattern).backward_weight(dvalues.tensor(), s.dy.tensor(), s.x.tensor(), stream);
      return dvalues.data();
    });
  }
}

TEST(SparseProduct, F32BitsDoNotDependOnThreads) { expect_independent_of_threads<float>(); }

TEST(SparseProduct, BF16BitsDoNotDependOnThreads) { expect_independent_of_threads<BF16>(); }

TEST(SparseProduct, RefusesWrongShapes) {
  Operands<float> s({4, 8, 6, {}, 0.5});
  Values<float> y({4, 7});
  Stream stream;
  const SparseProduct product(s.pattern);
  expect_error([&] { product.forward(y.tensor(), s.x.tensor(), s.values.tensor(), stream); },
               "[sparse_forward] y: expected f32 [4, 6], got f32 [4, 7]");
}

TEST(SparseProduct, ReportsTheWorkOfTheWeightsThatExist) {
  Operands<float> s({10, 40, 30, {}, 0.3});
  Values<float> y({10, 30}), dx({10, 40}), dvalues({s.pattern.nonzeros()});
  Profile profile;
  Stream stream;
  stream.set_profile(&profile);
  const SparseProduct product(s.pattern);
  for (int64_t step = 1; step <= 2; ++step) {
    profile.begin_step(step);
    product.forward(y.tensor(), s.x.tensor(), s.values.tensor(), stream);
    product.backward_input(dx.tensor(), s.dy.tensor(), s.values.tensor(), stream);
    product.backward_weight(dvalues.tensor(), s.dy.tensor(), s.x.tensor(), stream);
  }
  double flops = 0;
  for (const Profile::Total& total : profile.totals()) flops += total.work.flops;
  EXPECT_EQ(flops, 6.0 * 10 * static_cast<double>(s.pattern.nonzeros()));
}

}  // namespace
}  // namespace fern::testing
