#include "launch/step_time.h"

#include <gtest/gtest.h>

#include "launch/cut_model.h"
#include "launch/forecast.h"

namespace fern {
namespace {

ModelConfig tiny_model() {
  return {.vocabulary = 50, .layers = 3, .hidden = 16, .heads = 2, .kv_heads = 1, .ffn = 24, .context = 8};
}

Recipe tiny_recipe() {
  Recipe recipe;
  recipe.model = tiny_model();
  recipe.batch = {.sequences = 8, .micro_sequences = 2, .reduction_shards = 4};
  return recipe;
}

TEST(StepTime, LayoutsDivideCoresAndShards) {
  EXPECT_EQ(layouts_of(8, 4), (std::vector<Layout>{{1, 8}, {2, 4}, {4, 2}}));
  EXPECT_EQ(layouts_of(6, 4), (std::vector<Layout>{{1, 6}, {2, 3}}));
  EXPECT_EQ(layouts_of(1, 4), (std::vector<Layout>{{1, 1}}));
}

TEST(StepTime, AStepIsItsMicroBatchesLayersAndParameters) {
  const StepCosts costs = {.first_layer_s = 10, .next_layer_s = 2, .element_s = 0.5, .copied_byte_s = 0};
  const StepWork work = {.layers = 4, .micro_batches = 6, .elements = 100};
  EXPECT_DOUBLE_EQ(step_seconds(costs, work, 1), 6 * (10 + 3 * 2) + 50);
  EXPECT_DOUBLE_EQ(step_seconds(costs, work, 3), 2 * (10 + 3 * 2) + 50);
}

TEST(StepTime, MoreRanksExchangeMore) {
  const StepCosts costs = {.copied_byte_s = 1};
  const StepWork work = {.layers = 1, .micro_batches = 4, .elements = 100};
  const double alone = step_seconds(costs, work, 1);
  const double two = step_seconds(costs, work, 2), four = step_seconds(costs, work, 4);
  EXPECT_GT(two, alone);
  EXPECT_DOUBLE_EQ(four - alone, 1.5 * (two - alone));
}

TEST(StepTime, TheMiddleMeanIgnoresHiccups) {
  EXPECT_DOUBLE_EQ(middle_mean({3, 1, 1000, 2}), 2.5);
  EXPECT_DOUBLE_EQ(middle_mean({7}), 7);
}

TEST(StepTime, EveryPartOfALayoutIsMeasured) {
  const MicroBatch batch = full_micro_batch(2, 8, 50);
  const StepCosts costs = measure_step(tiny_model(), tiny_recipe(), {2, 1}, std::vector{batch}, 0.05);
  EXPECT_GT(costs.first_layer_s, 0);
  EXPECT_GE(costs.next_layer_s, 0);
  EXPECT_GT(costs.element_s, 0);
  EXPECT_GT(costs.copied_byte_s, 0);
}

TEST(StepTime, WhatDoesNotFitIsNotMeasured) {
  const std::vector<Layout> layouts = {{1, 2}, {2, 1}};
  const std::vector<Forecast> forecasts =
      forecast(layouts, tiny_model(), tiny_recipe(), nullptr, size_t{1} << 20, 1000, 0.05);
  ASSERT_EQ(forecasts.size(), 2u);
  for (const Forecast& entry : forecasts) {
    EXPECT_FALSE(entry.fits);
    EXPECT_EQ(entry.step_s, 0);
  }
  EXPECT_FALSE(best_of(forecasts).has_value());
}

TEST(StepTime, TheFastestThatFitsIsTaken) {
  const std::vector<Forecast> forecasts = {
      {.layout = {1, 4}, .fits = true, .step_s = 1, .tokens_per_second = 10},
      {.layout = {2, 2}, .fits = true, .step_s = 1, .tokens_per_second = 12},
      {.layout = {4, 1}, .fits = false, .step_s = 0, .tokens_per_second = 99}};
  EXPECT_EQ(best_of(forecasts), (Layout{2, 2}));
}

}  // namespace
}  // namespace fern
