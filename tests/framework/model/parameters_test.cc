#include "framework/model/parameters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace fern {
namespace {

constexpr double kStd = 0.02;

void add_matrix(Parameters& parameters, const std::string& name) {
  parameters.add(name, {64, 96}, ParameterKind::kMatrix, kStd);
}

std::vector<float> initial_values(const std::vector<std::string>& order, const std::string& name,
                                  uint64_t seed) {
  Parameters parameters;
  for (const std::string& each : order) add_matrix(parameters, each);
  const Arena arena =
      sized_arena("parameters", [&](Arena& arena) { parameters.allocate(arena, DType::kF32); });
  parameters.initialize(seed);
  const auto values = parameters.value(parameters.find(name)).values<float>();
  return {values.begin(), values.end()};
}

TEST(Parameters, InitialValuesDoNotDependOnOrder) {
  EXPECT_EQ(initial_values({"a", "b", "c"}, "b", 7), initial_values({"c", "b"}, "b", 7));
}

TEST(Parameters, InitialValuesDependOnSeedAndName) {
  EXPECT_NE(initial_values({"a", "b"}, "a", 7), initial_values({"a", "b"}, "a", 8));
  EXPECT_NE(initial_values({"a", "b"}, "a", 7), initial_values({"a", "b"}, "b", 7));
}

TEST(Parameters, InitialValuesHaveTheirStandardDeviation) {
  double sum = 0, squares = 0;
  const auto values = initial_values({"a"}, "a", 1);
  for (float value : values) {
    sum += value;
    squares += double{value} * value;
  }
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0.0, 5 * kStd / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n), kStd, 5 * kStd / std::sqrt(2 * n));
}

TEST(Parameters, NormsStartAtOneAndPaddingAtZero) {
  Parameters parameters;
  parameters.add("norm", {5}, ParameterKind::kNorm, 0);
  const Arena arena =
      sized_arena("parameters", [&](Arena& arena) { parameters.allocate(arena, DType::kF32); });
  parameters.initialize(1);
  const auto values = parameters.values().values<float>();
  ASSERT_EQ(values.size(), static_cast<size_t>(kParameterChunk));
  for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], i < 5 ? 1.0f : 0.0f);
}

TEST(Parameters, RunIsTheRowsOfItsParameters) {
  Parameters parameters;
  parameters.add("before", {3}, ParameterKind::kNorm, 0);
  const int first = parameters.add("q", {4, 2}, ParameterKind::kMatrix, kStd);
  parameters.add("k", {1, 2}, ParameterKind::kMatrix, kStd);
  const Arena arena =
      sized_arena("parameters", [&](Arena& arena) { parameters.allocate(arena, DType::kF32); });
  parameters.initialize(1);
  const Tensor both = parameters.values_of({first, 2});
  EXPECT_EQ(both.shape(), (Shape{5, 2}));
  EXPECT_EQ(both.data(), parameters.value(first).data());
  EXPECT_EQ(both.rows(4, 5).data(), parameters.value(first + 1).data());
}

TEST(Parameters, RunsComeInTheOrderOfTheirParameters) {
  Parameters parameters;
  for (const char* name : {"a", "b", "c", "d"}) add_matrix(parameters, name);
  parameters.add_product({3, 1});
  parameters.add_run({0, 1});
  parameters.add_product({1, 2});
  parameters.add_product({0, 1});
  EXPECT_EQ(parameters.runs(), (std::vector<ParameterRun>{{0, 1}, {1, 2}, {3, 1}}));
}

TEST(Parameters, RefusesTheSameNameTwice) {
  Parameters parameters;
  add_matrix(parameters, "a");
  EXPECT_THROW(add_matrix(parameters, "a"), Error);
}

}  // namespace
}  // namespace fern
