#include "framework/train/initial_patterns.h"

#include <gtest/gtest.h>

#include "framework/model/transformer.h"

namespace fern {
namespace {

const ModelConfig kConfig = {
    .vocabulary = 40, .layers = 1, .hidden = 32, .heads = 2, .kv_heads = 1, .ffn = 64, .context = 8};

// How many runs may be hardly sparse later on, of a run that begins so.
size_t later(SparsityMethod method, double sparsity, double initial_sparsity = 0, bool global = false) {
  SparsityConfig config;
  config.method = method;
  config.sparsity = sparsity;
  config.interval = 10;
  config.initial_sparsity = initial_sparsity;
  config.global = global;
  Transformer model(kConfig);
  set_initial_patterns(model.parameters(), *make_method(config, model.parameters(), 100, 1));
  return model.parameters().hardly_sparse_later().size();
}

TEST(InitialPatterns, WhatIsPrunedStepByStepPassesByMildSparsity) {
  EXPECT_EQ(later(SparsityMethod::kGradual, 0.9), 4u);
  EXPECT_EQ(later(SparsityMethod::kGradual, 0.9, 0.05), 4u);
  EXPECT_EQ(later(SparsityMethod::kGradual, 0.9, 0.8), 0u);
}

TEST(InitialPatterns, WhatIsPrunedAtOnceArrivesAtItsBudget) {
  for (const SparsityMethod method : {SparsityMethod::kMagnitude, SparsityMethod::kRandom}) {
    EXPECT_EQ(later(method, 0.05), 4u);
    EXPECT_EQ(later(method, 0.9), 0u);
  }
  EXPECT_EQ(later(SparsityMethod::kMagnitude, 0.9, 0, true), 4u);
}

TEST(InitialPatterns, OtherMethodsKeepTheirDensityUnlessWeightsMoveBetweenMatrices) {
  EXPECT_EQ(later(SparsityMethod::kStatic, 0.05), 0u);
  EXPECT_EQ(later(SparsityMethod::kRigl, 0.5), 0u);
  EXPECT_EQ(later(SparsityMethod::kRigl, 0.5, 0, true), 4u);
}

}  // namespace
}  // namespace fern
