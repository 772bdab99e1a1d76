#include "framework/optim/grad_norm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "framework/core/error.h"
#include "framework/core/rng.h"

namespace fern {
namespace {

struct Fixture {
  Parameters parameters;
  Arena arena;
  std::vector<double> squares;

  Fixture() : arena(take()), squares(static_cast<size_t>(gradient_chunks(parameters))) {
    float* gradients = parameters.gradients().as<float>();
    for (int64_t i = 0; i < parameters.elements(); ++i)
      gradients[i] = static_cast<float>(random_normal(3, Purpose::kTest, static_cast<uint64_t>(i)));
  }
  Arena take() {
    parameters.add("matrix", {300, 200}, ParameterKind::kMatrix, 0.02);
    return sized_arena("parameters", [&](Arena& a) { parameters.allocate(a, DType::kF32); });
  }
  Slice whole() const { return {0, parameters.padded_elements()}; }
};

TEST(GradNorm, EqualsThePlainNorm) {
  Fixture f;
  double sum = 0;
  for (const float g : f.parameters.gradients().values<float>()) sum += std::pow(static_cast<double>(g), 2);
  square_sums(f.squares, f.parameters, f.whole());
  EXPECT_NEAR(norm_of(f.squares), std::sqrt(sum), 1e-10 * std::sqrt(sum));
}

TEST(GradNorm, SlicesAddUpToTheBitsOfTheWhole) {
  Fixture f;
  std::vector<double> parts(f.squares.size(), 0.0), part(f.squares.size());
  ASSERT_GE(f.squares.size(), 3u);
  const int64_t cut = 2 * kParameterChunk;
  for (const Slice slice : {Slice{0, cut}, Slice{cut, f.parameters.padded_elements()}}) {
    square_sums(part, f.parameters, slice);
    for (size_t i = 0; i < parts.size(); ++i) parts[i] += part[i];
  }
  square_sums(f.squares, f.parameters, f.whole());
  EXPECT_EQ(parts, f.squares);
  EXPECT_EQ(norm_of(parts), norm_of(f.squares));
}

TEST(GradNorm, LeavesOutWhatAnotherRankCounts) {
  Parameters parameters;
  parameters.add("before", {100, 200}, ParameterKind::kMatrix, 0.02);
  parameters.add("everywhere", {30000}, ParameterKind::kNorm, 0, 1, {.counted = false});  // cuts two chunks
  parameters.add("after", {10, 20}, ParameterKind::kMatrix, 0.02);
  const Arena arena = sized_arena("parameters", [&](Arena& a) { parameters.allocate(a, DType::kF32); });
  std::ranges::fill(parameters.gradients().values<float>().first(50200), 2.0f);
  std::vector<double> squares(static_cast<size_t>(gradient_chunks(parameters)));
  square_sums(squares, parameters, {0, parameters.padded_elements()});
  EXPECT_EQ(norm_of(squares), std::sqrt(4.0 * (100 * 200 + 10 * 20)));
}

TEST(GradNorm, LetsNanAndInfinityThrough) {
  Fixture f;
  f.parameters.gradients().as<float>()[17] = std::numeric_limits<float>::quiet_NaN();
  square_sums(f.squares, f.parameters, f.whole());
  EXPECT_TRUE(std::isnan(norm_of(f.squares)));
  f.parameters.gradients().as<float>()[17] = std::numeric_limits<float>::infinity();
  square_sums(f.squares, f.parameters, f.whole());
  EXPECT_TRUE(std::isinf(norm_of(f.squares)));
}

TEST(GradNorm, RefusesASliceThatCutsAChunk) {
  Fixture f;
  EXPECT_THROW(square_sums(f.squares, f.parameters, {0, 100}), Error);
}

}  // namespace
}  // namespace fern
