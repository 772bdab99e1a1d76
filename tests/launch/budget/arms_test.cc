#include "launch/budget/arms.h"

#include <gtest/gtest.h>

#include "framework/core/error.h"
#include "framework/model/transformer.h"

namespace fern {
namespace {

ModelConfig small_model() {
  return {
      .vocabulary = 1000, .layers = 3, .hidden = 96, .heads = 6, .kv_heads = 2, .ffn = 256, .context = 64};
}

Recipe small_recipe() {
  Recipe recipe;
  recipe.model = small_model();
  recipe.train.steps = 100;
  recipe.sparsity.interval = 10;
  return recipe;
}

int64_t weights_of(const ModelConfig& model) { return Transformer(model).parameters().elements(); }

TEST(Arms, TheSmallDenseModelHasTheBudgetsWeights) {
  for (const double sparsity : {0.5, 0.8, 0.9}) {
    const int64_t budget = budget_weights(small_model(), small_recipe(), sparsity);
    const ModelConfig small = smaller_dense(small_model(), budget);
    EXPECT_NEAR(static_cast<double>(weights_of(small)), static_cast<double>(budget),
                kBudgetTolerance * static_cast<double>(budget));
    EXPECT_LT(small.hidden, small_model().hidden);
    EXPECT_EQ(small.layers, small_model().layers);
    EXPECT_NEAR(static_cast<double>(small.ffn) / static_cast<double>(small.hidden), 256.0 / 96.0, 0.8);
    validate(small);
  }
}

TEST(Arms, TheBudgetIsTheWeightsThatAreLeft) {
  const int64_t matrices = 3 * (96 * (96 + 32 + 32) + 96 * 96 + 3 * 96 * 256);
  EXPECT_NEAR(static_cast<double>(budget_weights(small_model(), small_recipe(), 0.75)),
              static_cast<double>(weights_of(small_model())) - 0.75 * matrices, 16);
}

TEST(Arms, BlocksDivideTheModel) {
  ModelConfig model = small_model();
  model.ffn = 264;
  const std::vector<Arm> arms = make_arms({"block_rigl"}, small_recipe(), model, 0.8);
  EXPECT_EQ(arms[0].overrides.back(), "sparsity.block=8");
}

TEST(Arms, BlocksDivideExperts) {
  ModelConfig model = small_model();
  model.ffn = 262;
  model.experts = {.count = 4, .ffn = 72};
  EXPECT_EQ(make_arms({"block_rigl"}, small_recipe(), model, 0.8)[0].overrides.back(), "sparsity.block=8");
  model.experts.every = 2;
  EXPECT_EQ(make_arms({"block_rigl"}, small_recipe(), model, 0.8)[0].overrides.back(), "sparsity.block=2");
}

TEST(Arms, ExpertsHaveNoSmallDenseModel) {
  ModelConfig model = small_model();
  model.experts = {.count = 4};
  EXPECT_THROW(make_arms({"dense_small"}, small_recipe(), model, 0.8), Error);
  EXPECT_EQ(make_arms({"static", "dense"}, small_recipe(), model, 0.8).size(), 2u);
}

TEST(Arms, BlocksDivideASparseVocabulary) {
  Recipe recipe = small_recipe();
  recipe.sparsity.head = true;
  EXPECT_EQ(make_arms({"block_rigl"}, recipe, small_model(), 0.8)[0].overrides.back(), "sparsity.block=8");
}

TEST(Arms, AnArmNamedTwiceIsRefused) {
  EXPECT_THROW(make_arms({"static", "rigl", "static"}, small_recipe(), small_model(), 0.8), Error);
}

TEST(Arms, AnUnknownArmIsRefused) {
  try {
    make_arms({"static", "rigel"}, small_recipe(), small_model(), 0.8);
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadUsage);
    EXPECT_NE(std::string(error.what()).find("rigl"), std::string::npos) << error.what();
  }
}

TEST(Arms, ABudgetThatNoDenseModelMeetsIsRefused) { EXPECT_THROW(smaller_dense(small_model(), 100), Error); }

}  // namespace
}  // namespace fern
