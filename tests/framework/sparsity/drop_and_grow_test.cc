// SET and RigL: counts, rules, and choices against sorting everything.
#include <cmath>
#include <numeric>

#include "framework/core/error.h"
#include "tests/framework/sparsity/topology_run.h"

namespace fern::testing {
namespace {

constexpr PatternKind kKinds[] = {PatternKind::kUnstructured, PatternKind::kBlock, PatternKind::kFanIn,
                                  PatternKind::kNm};

std::vector<MethodSetup> setups() {
  std::vector<MethodSetup> all;
  for (const SparsityMethod method : {SparsityMethod::kSet, SparsityMethod::kRigl})
    for (const PatternKind pattern : kKinds)
      for (const double sparsity : {0.2, 0.8, 0.93}) all.push_back(setup_of(method, pattern, sparsity));
  return all;
}

TEST(DropAndGrow, KeepsEveryCountAndRuleThroughARun) {
  for (const MethodSetup& setup : setups())
    for (const uint64_t different : {2, 1000}) {
      TopologyRun run(setup, different);
      int updates = 0;
      const int64_t before = run.blocks();
      run.run([&](int64_t) {
        ++updates;
        EXPECT_EQ(run.blocks(), before);
        for (size_t i = 0; i < run.weights().size(); ++i) {
          EXPECT_EQ(run.patterns[i].blocks(), run.method->budget()[i]);
          const auto counts = cell_counts(setup.config, run.weights()[i], run.patterns[i]);
          for (const int64_t count : counts) EXPECT_EQ(count, counts[0]);
        }
      });
      EXPECT_EQ(updates, 22);
    }
}

TEST(DropAndGrow, MovesTheScheduledShare) {
  for (const MethodSetup& setup : setups()) {
    TopologyRun run(setup);
    const std::vector<Pattern> before = run.patterns;
    run.update(10);
    for (size_t i = 0; i < before.size(); ++i) {
      const double share = 0.3 * 0.5 * (1 + std::cos(std::acos(-1.0) * 10 / 225));
      const int64_t free = run.weights()[i].blocks() - before[i].blocks();
      const int64_t expected = std::min(std::llround(share * static_cast<double>(before[i].blocks())),
                                        static_cast<long long>(free));
      const auto grown = static_cast<int64_t>(difference(run.patterns[i], before[i]).size());
      EXPECT_EQ(run.changes[i], (Change{expected, expected}));
      if (setup.config.pattern == PatternKind::kNm || setup.config.pattern == PatternKind::kFanIn) {
        EXPECT_GT(grown, expected / 2);
        EXPECT_LE(grown, expected);
      } else {
        EXPECT_EQ(grown, expected);
      }
    }
  }
}

TEST(DropAndGrow, DecaysTheShareItDrops) {
  MethodSetup setup = setup_of(SparsityMethod::kSet, PatternKind::kUnstructured);
  setup.weights = {{"w", 100, 100}};  // 2000 exist
  const auto drops = [&](DropDecay decay, int64_t step) {
    setup.config.drop_decay = decay;
    TopologyRun run(setup);
    run.update(step);
    return run.changes[0].drop;
  };
  EXPECT_EQ(drops(DropDecay::kConstant, 150), 600);
  EXPECT_EQ(drops(DropDecay::kLinear, 150), 200);
  EXPECT_EQ(drops(DropDecay::kCosine, 150), 150);
  EXPECT_EQ(drops(DropDecay::kCosine, 225), 0);
}

TEST(DropAndGrow, UpdatesEveryIntervalUntilItStops) {
  MethodSetup setup = setup_of(SparsityMethod::kSet, PatternKind::kUnstructured);
  const auto method = make_method(setup);
  EXPECT_FALSE(method->updates_after(0));
  EXPECT_FALSE(method->updates_after(5));
  EXPECT_TRUE(method->updates_after(10));
  EXPECT_TRUE(method->updates_after(220));
  EXPECT_FALSE(method->updates_after(230));
  setup.config.stop = 1;
  EXPECT_FALSE(make_method(setup)->updates_after(300));  // nothing would be trained after it
}

// Positions by magnitude, the smallest first; ties: the higher position first.
std::vector<uint64_t> dropped_by_sorting(const Pattern& pattern, const std::vector<float>& values,
                                         int64_t count) {
  std::vector<std::pair<float, int64_t>> all;
  const auto elements = static_cast<size_t>(pattern.block().elements());
  size_t at = 0;
  for (int64_t r = 0; r < pattern.block_rows(); ++r)
    for (const uint16_t c : pattern.row(r)) {
      float sum = 0;
      for (size_t e = 0; e < elements; ++e) sum += std::abs(values[at++]);
      all.push_back({sum, -(r * pattern.block_columns() + c)});
    }
  std::ranges::sort(all);
  std::vector<uint64_t> dropped;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i)
    dropped.push_back(static_cast<uint64_t>(-all[i].second));
  std::ranges::sort(dropped);
  return dropped;
}

TEST(DropAndGrow, DropsWhatSortingDrops) {
  for (const SparsityMethod method : {SparsityMethod::kSet, SparsityMethod::kRigl})
    for (const PatternKind pattern : {PatternKind::kUnstructured, PatternKind::kBlock})
      for (const uint64_t different : {2, 100000}) {
        TopologyRun run(setup_of(method, pattern), different);
        const auto patterns = run.patterns;
        const auto values = run.values;
        run.update(10);
        for (size_t i = 0; i < patterns.size(); ++i)
          EXPECT_EQ(difference(patterns[i], run.patterns[i]),
                    dropped_by_sorting(patterns[i], values[i], run.changes[i].drop));
      }
}

TEST(Rigl, GrowsWhatSortingTheDenseGradientGrows) {
  for (const uint64_t different : {2, 100000}) {
    TopologyRun run(setup_of(SparsityMethod::kRigl, PatternKind::kUnstructured), different);
    const auto before = run.patterns;
    run.update(10);
    for (size_t i = 0; i < before.size(); ++i) {
      const std::vector<float> gradient = run.gradient(10, i);
      std::vector<uint64_t> missing =
          difference(Pattern::full(before[i].rows(), before[i].columns()), before[i]);
      std::ranges::stable_sort(
          missing, [&](uint64_t a, uint64_t b) { return std::abs(gradient[a]) > std::abs(gradient[b]); });
      missing.resize(static_cast<size_t>(run.changes[i].grow));
      std::ranges::sort(missing);
      EXPECT_EQ(difference(run.patterns[i], before[i]), missing);
    }
  }
}

TEST(DropAndGrow, KeptWeightsKeepTheirPlace) {
  for (const MethodSetup& setup : setups()) {
    TopologyRun run(setup);
    const auto before = run.patterns;
    run.update(10);
    for (size_t i = 0; i < before.size(); ++i) {
      const auto origins = value_origins(run.patterns[i], before[i]);
      const auto grown = std::ranges::count(origins, -1);
      EXPECT_EQ(grown, static_cast<int64_t>(difference(run.patterns[i], before[i]).size()) *
                           before[i].block().elements());
      std::vector<int64_t> kept;
      std::ranges::copy_if(origins, std::back_inserter(kept), [](int64_t origin) { return origin >= 0; });
      EXPECT_TRUE(std::ranges::is_sorted(kept));
    }
  }
}

TEST(Set, GrowsByKeyAlone) {
  const MethodSetup setup = setup_of(SparsityMethod::kSet, PatternKind::kUnstructured);
  const auto after = [&](uint64_t seed, int64_t step) {
    TopologyRun run(setup);
    MethodSetup other = setup;
    other.seed = seed;
    run.method = make_method(other);
    run.update(step);
    return run.patterns[0];
  };
  EXPECT_EQ(after(3, 10), after(3, 10));
  EXPECT_NE(after(3, 10), after(4, 10));
  MethodSetup constant = setup;
  constant.config.drop_decay = DropDecay::kConstant;
  TopologyRun ten(constant), twenty(constant);
  ten.update(10);
  twenty.update(20);
  EXPECT_NE(ten.patterns[0], twenty.patterns[0]);
}

// 16 positions, 4 exist, 1 grows of 12: over many seeds each comes about as often. Chi-squared with 11
// degrees of freedom exceeds 35.4 once in 5000.
TEST(Set, EveryMissingBlockIsAsLikely) {
  MethodSetup setup = setup_of(SparsityMethod::kSet, PatternKind::kUnstructured, 0.75);
  setup.weights = {{"w", 4, 4}};
  const Pattern pattern(4, 4, {}, {0, 2, 2, 3, 4}, {1, 2, 0, 3});
  const std::vector<float> values = {4, 3, 2, 1};
  std::vector<int> counts(16);
  constexpr int kDraws = 3600;
  for (setup.seed = 0; setup.seed < kDraws; ++setup.seed)
    ++counts[difference(make_method(setup)->next(10, 0, {pattern, values}, {1, 1}), pattern).at(0)];
  double chi_squared = 0;
  for (const uint64_t position : difference(Pattern::full(4, 4), pattern))
    chi_squared += std::pow(counts[position] - kDraws / 12, 2) / (kDraws / 12);
  EXPECT_LT(chi_squared, 35.4);
}

// The same updates as of one matrix with all rows.
TEST(Rigl, GlobalBudgetsSortAllWeightsTogether) {
  for (const auto& [different, steep] : {std::pair<uint64_t, size_t>{2, 9}, {100000, 9}, {100000, 2}}) {
    MethodSetup parts = setup_of(SparsityMethod::kRigl, PatternKind::kUnstructured), whole = parts;
    parts.weights = {{"a", 20, 30}, {"b", 30, 30}, {"c", 10, 30}};
    parts.config.global = true;
    whole.weights = {{"all", 60, 30}};
    TopologyRun run(parts, different), reference(whole, different);
    run.steep = steep;
    reference.patterns = {Pattern::stacked(run.patterns)};
    reference.values[0].clear();
    for (const auto& values : run.values)
      reference.values[0].insert(reference.values[0].end(), values.begin(), values.end());
    const std::vector<std::vector<Candidate>> grow = run.candidates(10);
    std::vector<float> gradient;
    for (size_t i = 0; i < 3; ++i) {
      const auto part = run.gradient(10, i);
      gradient.insert(gradient.end(), part.begin(), part.end());
    }
    std::vector<WeightView> views;
    for (size_t i = 0; i < 3; ++i) views.push_back({run.patterns[i], run.values[i], grow[i]});
    const auto changes = run.method->counts(10, views);
    std::vector<Pattern> after;
    for (size_t i = 0; i < 3; ++i) after.push_back(run.method->next(10, i, views[i], changes[i]));
    GrowthScores scores = std::move(reference.method->growth_scores(std::vector<size_t>{0})[0]);
    scores.offer_rows(reference.patterns[0], gradient.data(), 0, 60);
    const auto candidates = scores.candidates();
    const std::vector<WeightView> view = {{reference.patterns[0], reference.values[0], candidates}};
    EXPECT_EQ(Pattern::stacked(after),
              reference.method->next(10, 0, view[0], reference.method->counts(10, view)[0]));
  }
}

TEST(DropAndGrow, GlobalBudgetsKeepTheTotalAndSomeOfEach) {
  for (const SparsityMethod method : {SparsityMethod::kSet, SparsityMethod::kRigl})
    for (const PatternKind pattern : {PatternKind::kUnstructured, PatternKind::kBlock}) {
      MethodSetup setup = setup_of(method, pattern, 0.9);
      setup.config.global = true;
      TopologyRun run(setup);
      for (float& value : run.values[1]) value *= 1e-3f;  // all of it would go
      const int64_t before = run.blocks();
      run.run([&](int64_t) {
        EXPECT_EQ(run.blocks(), before);
        for (const Pattern& p : run.patterns) EXPECT_GT(p.blocks(), 0);
      });
      EXPECT_NE(run.patterns[1].blocks(), run.method->budget()[1]);
    }
}

TEST(Method, ScoresEachRowOnceBeforeAnUpdate) {
  for (const PatternKind pattern : {PatternKind::kUnstructured, PatternKind::kBlock}) {
    MethodSetup setup = setup_of(SparsityMethod::kRigl, pattern);
    setup.config.scoring_steps = 3;
    const auto method = make_method(setup);
    int64_t next = 0;
    for (int64_t step = 8; step <= 10; ++step) {
      const RowRange rows = method->scored_rows(step, 0);
      EXPECT_EQ(rows.first, next);
      EXPECT_GT(rows.last, rows.first);
      next = rows.last;
    }
    EXPECT_EQ(next, setup.weights[0].rows);
    EXPECT_EQ(method->scored_rows(7, 0), RowRange{});
    EXPECT_EQ(method->scored_rows(11, 0), RowRange{});
    EXPECT_EQ(method->scored_rows(230, 0), RowRange{});
  }
  EXPECT_EQ(make_method(setup_of(SparsityMethod::kSet, PatternKind::kBlock))->scored_rows(10, 0), RowRange{});
}

TEST(Method, StaticPatternsStay) {
  for (const PatternKind pattern : {PatternKind::kUnstructured, PatternKind::kButterfly}) {
    TopologyRun run(setup_of(SparsityMethod::kStatic, pattern));
    for (int64_t step = 1; step <= 300; ++step) EXPECT_FALSE(run.method->updates_after(step));
    for (size_t i = 0; i < run.patterns.size(); ++i)
      EXPECT_EQ(run.patterns[i].blocks(), run.method->budget()[i]);
    const std::vector<Pattern> before = run.patterns;
    run.update(10);
    EXPECT_EQ(run.changes, std::vector<Change>(before.size()));
    EXPECT_EQ(run.patterns, before);
  }
}

TEST(Method, DenseIsNoMethod) {
  EXPECT_THROW(make_method(setup_of(SparsityMethod::kDense, PatternKind::kUnstructured)), Error);
}

}  // namespace
}  // namespace fern::testing
