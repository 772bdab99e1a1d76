#include "parallel/layer_split.h"

#include <gtest/gtest.h>

#include <numeric>

#include "framework/model/transformer.h"

namespace fern {
namespace {

ModelConfig model(int64_t layers, int64_t vocabulary) {
  return {.vocabulary = vocabulary,
          .layers = layers,
          .hidden = 64,
          .heads = 4,
          .kv_heads = 4,
          .ffn = 176,
          .context = 32};
}

std::vector<int64_t> layers_of(const std::vector<ModelPart>& parts) {
  std::vector<int64_t> counts;
  for (const ModelPart& part : parts) counts.push_back(part.last_layer - part.first_layer);
  return counts;
}

TEST(LayerSplit, OneStageHasAllLayers) {
  EXPECT_EQ(split_layers(model(5, 100), 1), (std::vector<ModelPart>{{0, 5}}));
}

TEST(LayerSplit, LayersAreSharedEvenlyWhereTheHeadIsSmall) {
  EXPECT_EQ(layers_of(split_layers(model(12, 10), 2)), (std::vector<int64_t>{6, 6}));
  EXPECT_EQ(layers_of(split_layers(model(12, 10), 4)), (std::vector<int64_t>{3, 3, 3, 3}));
}

TEST(LayerSplit, TheHeadCountsAsManyLayersAsItsProduct) {
  const ModelConfig one = model(1, 10), two = model(2, 10);
  const double layer = training_flops_per_token(two, 32) - training_flops_per_token(one, 32);
  const auto vocabulary = static_cast<int64_t>(2 * layer / (6 * 64));
  EXPECT_EQ(layers_of(split_layers(model(6, vocabulary), 2)), (std::vector<int64_t>{4, 2}));
}

TEST(LayerSplit, EveryStageHasALayerAndAllLayersAreThere) {
  for (int64_t layers = 1; layers <= 9; ++layers)
    for (int64_t stages = 1; stages <= layers; ++stages) {
      const std::vector<ModelPart> parts = split_layers(model(layers, 100000), stages);
      ASSERT_EQ(std::ssize(parts), stages);
      int64_t end = 0;
      for (const ModelPart& part : parts) {
        EXPECT_EQ(part.first_layer, end);
        EXPECT_GT(part.last_layer, part.first_layer);
        end = part.last_layer;
      }
      EXPECT_EQ(end, layers);
    }
}

TEST(LayerSplit, FlopsOfThePartsAddUp) {
  const ModelConfig config = model(7, 500);
  double sum = 0;
  for (const ModelPart& part : split_layers(config, 3)) sum += flops_of_part(config, part);
  EXPECT_NEAR(sum, training_flops_per_token(config, config.context), 1e-6 * sum);
}

TEST(LayerSplit, AStageHoldsEachPthPart) {
  const ModelConfig config = model(12, 10);
  EXPECT_EQ(parts_of_stage(config, {.pipeline = 3, .virtual_stages = 2}, 1),
            (std::vector<ModelPart>{{2, 4}, {8, 10}}));
  EXPECT_EQ(parts_of_stage(config, {.pipeline = 3}, 1), (std::vector<ModelPart>{{4, 8}}));
  EXPECT_EQ(parts_of_stage(config, {}, 0), (std::vector<ModelPart>{{0, 12}}));
}

}  // namespace
}  // namespace fern
