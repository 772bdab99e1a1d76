#include "tests/framework/sparsity/topology_run.h"

namespace fern::testing {
namespace {

// Weights of each row: all equal where there are any.
std::vector<int64_t> rows_of(const Pattern& pattern) {
  std::vector<int64_t> counts;
  for (int64_t r = 0; r < pattern.rows(); ++r) counts.push_back(static_cast<int64_t>(pattern.row(r).size()));
  return counts;
}

TEST(Srigl, FanInIsEqualInActiveRowsThroughARun) {
  for (const double sparsity : {0.5, 0.8, 0.95})
    for (const double ablation : {0.3, 0.9})
      for (const uint64_t different : {2, 1000}) {
        MethodSetup setup = setup_of(SparsityMethod::kSrigl, PatternKind::kFanIn, sparsity);
        setup.config.ablation = ablation;
        TopologyRun run(setup, different);
        run.run([&](int64_t) {
          for (size_t i = 0; i < run.patterns.size(); ++i) {
            const auto counts = rows_of(run.patterns[i]);
            const int64_t active = std::ranges::count_if(counts, [](int64_t count) { return count > 0; });
            ASSERT_GT(active, 0);
            const int64_t fan_in = *std::ranges::max_element(counts);
            for (const int64_t count : counts) EXPECT_TRUE(count == 0 || count == fan_in);
            EXPECT_LE(run.patterns[i].blocks(), run.method->budget()[i]);
            if (sparsity > 0.6 && ablation < 0.5) {
              EXPECT_EQ(fan_in, run.method->budget()[i] / active);
            }
          }
        });
      }
}

TEST(Srigl, WithoutAblationEveryRowStaysAndCountsAreExact) {
  MethodSetup setup = setup_of(SparsityMethod::kSrigl, PatternKind::kFanIn);
  setup.config.ablation = 0;
  TopologyRun run(setup);
  run.run([&](int64_t) {
    for (size_t i = 0; i < run.patterns.size(); ++i)
      for (const int64_t count : rows_of(run.patterns[i]))
        EXPECT_EQ(count * run.weights()[i].rows, run.method->budget()[i]);
  });
}

// 4 rows of 2 weights of 8; row 2 is small and nothing there wants to grow.
struct FourRows {
  MethodSetup setup = [] {
    MethodSetup setup = setup_of(SparsityMethod::kSrigl, PatternKind::kFanIn, 0.75);
    setup.weights = {{"w", 4, 8}};
    return setup;
  }();
  Pattern pattern{4, 8, {}, {0, 2, 4, 6, 8}, {0, 1, 2, 3, 4, 5, 6, 7}};
  std::vector<float> values = {5, 6, 7, 8, 0.1f, 0.2f, 9, 10};
  std::vector<Candidate> candidates = {{3, 3}, {4, 13}, {0.1f, 16}, {2, 24}};
  Pattern next() const { return make_method(setup)->next(10, 0, {pattern, values, candidates}, {2, 2}); }
};

TEST(Srigl, AnAblatedRowGivesItsWeightsToTheOthers) {
  FourRows c;
  const Pattern after = c.next();
  // 8 weights for 3 rows: 2 each; the two smallest were of row 2, so that no other row has room.
  EXPECT_EQ(rows_of(after), (std::vector<int64_t>{2, 2, 0, 2}));
  EXPECT_EQ(after.slice(0, 2), c.pattern.slice(0, 2));
  c.setup.weights[0].columns = 8;
  c.values = {5, 6, 0.3f, 8, 0.1f, 0.2f, 0.4f, 10};
  c.candidates = {{3, 3}, {9, 13}, {8, 24}};
  const Pattern two = make_method(c.setup)->next(10, 0, {c.pattern, c.values, c.candidates}, {4, 2});
  EXPECT_EQ(rows_of(two), (std::vector<int64_t>{2, 2, 0, 2}));
  EXPECT_EQ(two.row(1)[1], 13 - 8);  // its smallest went, its candidate came
  EXPECT_EQ(two.row(3)[0], 24 - 24);
}

TEST(Srigl, ARowThatWantsToGrowStays) {
  FourRows c;
  c.candidates[2].score = 100;
  EXPECT_EQ(rows_of(c.next()), (std::vector<int64_t>{2, 2, 2, 2}));
}

TEST(Srigl, AnAblatedRowStaysAway) {
  FourRows c;
  c.pattern = Pattern(4, 8, {}, {0, 2, 4, 4, 6}, {0, 1, 2, 3, 6, 7});
  c.values = {5, 6, 7, 8, 9, 10};
  c.candidates[2].score = 100;
  EXPECT_EQ(rows_of(c.next())[2], 0);
}

}  // namespace
}  // namespace fern::testing
