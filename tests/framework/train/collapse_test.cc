#include "framework/train/collapse.h"

#include <gtest/gtest.h>

namespace fern {
namespace {

constexpr ExpertConfig kExperts = {.count = 8, .active = 2};

// One layer: what all use, and what a language uses.
ExpertMetrics metrics(const std::vector<double>& all, const std::vector<double>& language,
                      double tokens = 1000) {
  return {.steps = 1,
          .layers = {
              {.layer = 0, .all = use_of(all, 2000, 0, 0), .languages = {use_of(language, tokens, 0, 0)}}}};
}

const std::vector<double> kEven(8, 100), kTwo = {100, 100, 1, 0, 0, 0, 0, 0}, kFour = {100, 100, 100, 100,
                                                                                       0,   0,   0,   0};

bool hears(CollapseWatch& watch, ExpertMetrics interval) {
  watch.add(interval);
  return interval.layers[0].languages[0].collapsed;
}

TEST(CollapseWatch, NamesALanguageAfterSomeIntervalsInARow) {
  CollapseWatch watch(kExperts, 1, 1);
  EXPECT_FALSE(hears(watch, metrics(kEven, kTwo)));
  EXPECT_FALSE(hears(watch, metrics(kEven, kFour))) << "that is not few";
  EXPECT_FALSE(hears(watch, metrics(kEven, kTwo)));
  EXPECT_FALSE(hears(watch, metrics(kEven, kTwo)));
  EXPECT_TRUE(hears(watch, metrics(kEven, kTwo)));
}

TEST(CollapseWatch, KeepsTheNameUntilTheLanguageHasRecovered) {
  CollapseWatch watch(kExperts, 1, 1);
  for (int i = 0; i < 3; ++i) hears(watch, metrics(kEven, kTwo));
  EXPECT_TRUE(hears(watch, metrics(kEven, kFour)));
  EXPECT_FALSE(hears(watch, metrics(kEven, kEven)));
  EXPECT_FALSE(hears(watch, metrics(kEven, kEven)));
  EXPECT_FALSE(hears(watch, metrics(kEven, kFour)));
  EXPECT_TRUE(hears(watch, metrics(kEven, kTwo))) << "it has not recovered for good";
}

TEST(CollapseWatch, ABatchThatUsesFewExpertsIsNoLanguagesDoing) {
  CollapseWatch watch(kExperts, 1, 1);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(hears(watch, metrics(kTwo, kTwo)));
}

TEST(CollapseWatch, TooFewTokensSayNothing) {
  CollapseWatch watch(kExperts, 1, 1);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(hears(watch, metrics(kEven, kTwo, 10)));
}

TEST(CollapseWatch, CorrectsThatLanguageAlone) {
  const ModelConfig model = {.layers = 1, .experts = kExperts};
  RoutingState state(model);
  state.set_languages(2);
  CollapseWatch watch(kExperts, 1, 2);
  ExpertMetrics interval = metrics(kEven, kTwo);
  interval.layers[0].languages.push_back(use_of(kEven, 1000, 0, 0));
  for (int i = 0; i < 3; ++i) watch.add(interval);
  RoutingCounts counts(1, 8, 2);
  counts.all()[0] = counts.all()[1] = 100;
  watch.correct(state, counts);
  EXPECT_EQ(state.correction_E(0, 0)[0], -CollapseWatch::kCorrection);
  EXPECT_EQ(state.correction_E(0, 0)[7], CollapseWatch::kCorrection);
  for (size_t e = 0; e < 8; ++e) {
    EXPECT_EQ(state.correction_E(0, 1)[e], 0);
    EXPECT_EQ(state.bias_E(0)[e], 0);
  }
  for (ExpertUse& use : interval.layers[0].languages) use = use_of(kEven, 1000, 0, 0);
  watch.add(interval);
  watch.correct(state, counts);
  EXPECT_LT(state.correction_E(0, 0)[7], CollapseWatch::kCorrection) << "it fades";
}

}  // namespace
}  // namespace fern
