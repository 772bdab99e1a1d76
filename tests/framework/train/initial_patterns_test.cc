#include "framework/train/initial_patterns.h"

#include <gtest/gtest.h>

#include "framework/model/part.h"
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

// A part draws the patterns that the whole model would, and lays the whole out as if it had them.
TEST(InitialPatterns, PartsAreThoseOfTheWhole) {
  ModelConfig model = kConfig;
  model.layers = 3;
  model.tie_embeddings = false;
  for (const SparsityMethod kind : {SparsityMethod::kStatic, SparsityMethod::kGradual}) {
    SparsityConfig config;
    config.method = kind;
    config.sparsity = 0.9;
    config.distribution = Distribution::kErdosRenyi;
    config.interval = 10;
    config.embedding = true;
    Transformer whole(model), layout(model);
    const auto method = make_method(config, whole.parameters(), 100, 1);
    set_initial_patterns(whole.parameters(), *method);
    set_first_sizes(layout.parameters(), *method, {});
    const std::vector<Parameter>& expected = whole.parameters().list();
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(layout.parameters().list()[i].offset, expected[i].offset) << expected[i].name;
      EXPECT_EQ(layout.parameters().list()[i].nonzeros, expected[i].nonzeros) << expected[i].name;
      EXPECT_EQ(layout.parameters().list()[i].sparse, expected[i].sparse) << expected[i].name;
    }
    for (int64_t layer = 0; layer < model.layers; ++layer) {
      Transformer part(model, {ModelPart{layer, layer + 1}});
      set_initial_patterns(part.parameters(), *method);
      for (const auto& [run, pattern] : part.parameters().sparse_runs()) {
        const int there =
            whole.parameters().find(part.parameters().list()[static_cast<size_t>(run.first)].name);
        EXPECT_EQ(pattern, *whole.parameters().pattern_of({there, run.count}));
      }
      for (const ChunkRun& run : chunks_in_whole(part.parameters(), layout.parameters()))
        EXPECT_LE(run.whole + run.count, layout.parameters().padded_elements() / kParameterChunk);
    }
  }
}

}  // namespace
}  // namespace fern
