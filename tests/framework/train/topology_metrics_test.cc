#include "framework/train/topology_metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "framework/core/error.h"
#include "framework/train/solo_reducer.h"
#include "tests/framework/sparsity/random_pattern.h"
#include "tests/framework/sparsity/value_origins.h"

namespace fern {
namespace {

// Rows 0 and 2 of three have weights; columns 0, 1 and 3 of four.
Pattern small_pattern() { return {3, 4, {}, {0, 2, 2, 4}, {0, 3, 0, 1}}; }

TEST(TopologyMetrics, NeuronsWithAWeightAreActive) {
  const ActiveNeurons active = active_neurons(small_pattern());
  EXPECT_EQ(active.rows, 2);
  EXPECT_EQ(active.columns, 3);
}

TEST(TopologyMetrics, ABlockMakesAllItsNeuronsActive) {
  const ActiveNeurons active = active_neurons(Pattern(6, 8, {2, 4}, {0, 1, 1, 2}, {1, 1}));
  EXPECT_EQ(active.rows, 4);
  EXPECT_EQ(active.columns, 4);
}

TEST(TopologyMetrics, WeightsThatWereActiveStayCounted) {
  const Pattern first = testing::random_pattern(40, 30, {}, 0.3, 1),
                second = testing::random_pattern(40, 30, {}, 0.3, 2);
  EverActive ever(40, 30, {});
  ever.add(first);
  EXPECT_EQ(ever.weights(), first.nonzeros());
  ever.add(second);
  int64_t grown = 0;
  for (const int64_t origin : testing::value_origins(second, first)) grown += origin < 0;
  EXPECT_EQ(ever.weights(), first.nonzeros() + grown);
}

TEST(TopologyMetrics, EverActiveComesBackFromItsBits) {
  EverActive ever(8, 12, {4, 4});
  ever.add({8, 12, {4, 4}, {0, 1, 2}, {2, 0}});
  EverActive other(8, 12, {4, 4});
  other.restore(ever.bits());
  EXPECT_EQ(other.weights(), 32);
  EXPECT_THROW(other.restore({1, 2}), Error);
}

// Parameters of several chunks that do not begin with one.
struct Gradients {
  Parameters parameters;
  Arena arena = take();
  std::vector<int> all = {0, 1, 2};

  Arena take() {
    parameters.add("a", {100, 70}, ParameterKind::kMatrix, 0.02);
    parameters.add("b", {300, 200}, ParameterKind::kMatrix, 0.02);
    parameters.add("c", {5}, ParameterKind::kNorm, 0);
    Arena room = sized_arena("parameters", [&](Arena& a) { parameters.allocate(a, DType::kF32); });
    const auto gradients = parameters.gradients().values<float>();
    for (size_t i = 0; i < gradients.size(); ++i)
      gradients[i] = i < 67005 ? std::sin(0.1F * static_cast<float>(i)) : 0.0F;
    return room;
  }
};

TEST(TopologyMetrics, NormsAreThoseOfEachParameter) {
  const Gradients model;
  SoloScalars scalars;
  const Parameters& parameters = model.parameters;
  const std::vector<double> norms =
      gradient_norms(parameters, parameters, model.all, {0, parameters.padded_elements()}, {}, scalars);
  for (const int i : model.all) {
    double squares = 0;
    for (const float value : parameters.gradient(i).values<float>())
      squares += static_cast<double>(value) * static_cast<double>(value);
    EXPECT_NEAR(norms[static_cast<size_t>(i)], std::sqrt(squares), 1e-9);
  }
}

// Adds what another process counted.
class Others final : public ScalarReducer {
 public:
  explicit Others(std::vector<double> values) : values_(std::move(values)) {}
  void sum(std::span<double> values) override {
    seen.assign(values.begin(), values.end());
    for (size_t i = 0; i < values_.size(); ++i) values[i] += values_[i];
  }
  bool any(bool value) override { return value; }
  void barrier() override {}
  std::vector<double> seen;

 private:
  std::vector<double> values_;
};

TEST(TopologyMetrics, ProcessesThatCountSlicesFindTheSameNormsToTheBit) {
  const Gradients model;
  const Parameters& parameters = model.parameters;
  SoloScalars alone;
  const Slice whole = {0, parameters.padded_elements()};
  const std::vector<double> expected = gradient_norms(parameters, parameters, model.all, whole, {}, alone);
  for (int64_t cut = 0; cut <= whole.end; cut += kParameterChunk) {
    Others first({});
    gradient_norms(parameters, parameters, model.all, {0, cut}, {}, first);
    Others second(first.seen);
    EXPECT_EQ(gradient_norms(parameters, parameters, model.all, {cut, whole.end}, {}, second), expected)
        << cut;
  }
}

TEST(TopologyMetrics, TheFlowIsTheMeanOfTheNorms) {
  SparsityMetrics metrics;
  metrics.weights = {
      {.name = "a", .elements = 100, .nonzeros = 10, .ever_active = 20, .grown = 4, .gradient_norm = 1},
      {.name = "b", .elements = 300, .nonzeros = 30, .ever_active = 40, .grown = 4, .gradient_norm = 4}};
  EXPECT_EQ(metrics.gradient_flow(), 2.5);
  EXPECT_EQ(metrics.density(), 0.1);
  EXPECT_EQ(metrics.churn(), 0.2);
  EXPECT_EQ(metrics.ever_active(), 0.15);
}

}  // namespace
}  // namespace fern
