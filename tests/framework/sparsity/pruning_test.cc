// Gradual and one-shot pruning.
#include <cmath>

#include "framework/sparsity/prune.h"
#include "tests/framework/sparsity/expect_usage.h"
#include "tests/framework/sparsity/topology_run.h"

namespace fern::testing {
namespace {

constexpr PatternKind kKinds[] = {PatternKind::kUnstructured, PatternKind::kBlock, PatternKind::kFanIn,
                                  PatternKind::kNm};

TEST(Gradual, BeginsFullAndArrivesAtTheBudget) {
  for (const PatternKind kind : kKinds)
    for (const bool global : {false, true}) {
      if (global && (kind == PatternKind::kFanIn || kind == PatternKind::kNm)) continue;
      MethodSetup setup = setup_of(SparsityMethod::kGradual, kind, 0.9);
      setup.config.global = global;
      TopologyRun run(setup);
      for (size_t i = 0; i < run.patterns.size(); ++i)
        EXPECT_EQ(run.patterns[i].blocks(), run.weights()[i].blocks());
      int64_t budget = 0;
      for (const int64_t blocks : run.method->budget()) budget += blocks;
      run.run([&](int64_t) {
        for (size_t i = 0; i < run.patterns.size(); ++i) {
          const auto counts = cell_counts(setup.config, run.weights()[i], run.patterns[i]);
          for (const int64_t count : counts) EXPECT_EQ(count, counts[0]);
          EXPECT_EQ(run.changes[i].grow, 0);
        }
      });
      EXPECT_EQ(run.blocks(), budget);
      for (size_t i = 0; i < run.patterns.size() && !global; ++i)
        EXPECT_EQ(run.patterns[i].blocks(), run.method->budget()[i]);
    }
}

TEST(Gradual, FollowsTheCubicSchedule) {
  for (const Distribution distribution : {Distribution::kUniform, Distribution::kErdosRenyi}) {
    MethodSetup setup = setup_of(SparsityMethod::kGradual, PatternKind::kUnstructured, 0.9);
    setup.config.initial_sparsity = 0.2;
    setup.config.begin = 0.1;
    setup.config.distribution = distribution;
    TopologyRun run(setup);
    double all = 0;
    for (const SparseWeight& weight : run.weights()) all += static_cast<double>(weight.blocks());
    EXPECT_EQ(run.blocks(), std::llround(0.8 * all));
    std::vector<int64_t> steps;
    run.run([&](int64_t step) {
      const double left = 1 - static_cast<double>(step - 30) / 190;
      EXPECT_EQ(run.blocks(), std::llround((1 - (0.9 - 0.7 * left * left * left)) * all));
      steps.push_back(step);
    });
    EXPECT_EQ(steps.front(), 30);
    EXPECT_EQ(steps.back(), 220);
  }
}

TEST(Gradual, DropsTheSmallest) {
  TopologyRun run(setup_of(SparsityMethod::kGradual, PatternKind::kUnstructured, 0.9));
  const auto before = run.values[0];
  run.update(100);
  float largest_dropped = 0, smallest_kept = 10;
  for (const uint64_t position :
       difference(Pattern::full(run.weights()[0].rows, run.weights()[0].columns), run.patterns[0]))
    largest_dropped = std::max(largest_dropped, std::abs(before[position]));
  for (const float value : run.values[0]) smallest_kept = std::min(smallest_kept, std::abs(value));
  EXPECT_LE(largest_dropped, smallest_kept);
  EXPECT_GT(largest_dropped, 0);
}

TEST(OneShot, PrunesOnceAtTheEndOfItsSchedule) {
  for (const SparsityMethod method : {SparsityMethod::kMagnitude, SparsityMethod::kRandom})
    for (const PatternKind kind : kKinds) {
      MethodSetup setup = setup_of(method, kind);
      setup.config.end = 0.5;
      TopologyRun run(setup);
      std::vector<int64_t> steps;
      run.run([&](int64_t step) { steps.push_back(step); });
      EXPECT_EQ(steps, std::vector<int64_t>{150});
      for (size_t i = 0; i < run.patterns.size(); ++i)
        EXPECT_EQ(run.patterns[i].blocks(), run.method->budget()[i]);
    }
}

struct TwoWeights {
  MethodSetup setup = [] {
    MethodSetup setup;
    setup.config.method = SparsityMethod::kMagnitude;
    setup.config.sparsity = 0.5;
    setup.weights = {{"a", 2, 4}, {"b", 1, 4}};
    return setup;
  }();
  Pattern a = Pattern::full(2, 4), b = Pattern::full(1, 4);
  std::vector<float> of_a = {1, -8, 7, 2, 3, 3, 3, 3}, of_b = {0.1f, 0.2f, -0.3f, 0.4f};
  std::vector<Pattern> pruned() const { return prune(setup, std::vector<WeightView>{{a, of_a}, {b, of_b}}); }
};

TEST(Prune, KeepsTheLargestOfEach) {
  const auto patterns = TwoWeights().pruned();
  EXPECT_EQ(patterns[0], Pattern(2, 4, {}, {0, 2, 4}, {1, 2, 0, 1}));  // ties: the lower
  EXPECT_EQ(patterns[1], Pattern(1, 4, {}, {0, 2}, {2, 3}));
}

TEST(Prune, KeepsTheLargestOfAllAndOneOfEach) {
  TwoWeights c;
  c.setup.config.global = true;
  const auto patterns = c.pruned();
  EXPECT_EQ(patterns[0], Pattern(2, 4, {}, {0, 2, 5}, {1, 2, 0, 1, 2}));
  EXPECT_EQ(patterns[1], Pattern(1, 4, {}, {0, 1}, {3}));
}

TEST(Prune, KeepsTheLargestOfEveryGroup) {
  TwoWeights c;
  c.setup.config.pattern = PatternKind::kNm;
  const auto patterns = c.pruned();
  EXPECT_EQ(patterns[0], Pattern(2, 4, {}, {0, 2, 4}, {1, 2, 0, 1}));
  c.setup.config.sparsity = 0;
  c.setup.config.n = 1;
  EXPECT_EQ(c.pruned()[0], Pattern(2, 4, {}, {0, 1, 2}, {1, 0}));
}

TEST(Prune, RandomIgnoresMagnitude) {
  TwoWeights c;
  c.setup.config.method = SparsityMethod::kRandom;
  const auto patterns = c.pruned();
  std::ranges::reverse(c.of_a);
  EXPECT_EQ(c.pruned(), patterns);
  EXPECT_EQ(patterns[0].blocks(), 4);
}

TEST(Prune, RefusesMethodsThatTrain) {
  TwoWeights c;
  c.setup.config.method = SparsityMethod::kRigl;
  expect_usage([&] { c.pruned(); }, "sparsity.method = \"rigl\": expected \"magnitude\" or \"random\"");
}

}  // namespace
}  // namespace fern::testing
