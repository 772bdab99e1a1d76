#include "framework/train/initial_patterns.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "framework/layers/tensor_axis.h"
#include "framework/model/matrix_share.h"
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

// A rank that shares matrices has its rows or columns of the whole's patterns and values, and room for more.
TEST(InitialPatterns, SharesAreThoseOfTheWhole) {
  ModelConfig model = kConfig;
  model.heads = model.kv_heads = 4;
  model.ffn = 50;
  model.vocabulary = 41;
  SparsityConfig config;
  config.method = SparsityMethod::kSet;
  config.sparsity = 0.7;
  config.distribution = Distribution::kErdosRenyi;
  config.interval = 10;
  config.embedding = config.head = true;
  Transformer whole(model);
  const auto method = make_method(config, whole.parameters(), 100, 1);
  set_initial_patterns(whole.parameters(), *method);
  Arena arena = sized_arena("whole", [&](Arena& a) { whole.parameters().allocate(a, DType::kF32); });
  whole.parameters().initialize(5);
  int64_t weights = 0;
  for (int64_t rank = 0; rank < 4; ++rank) {
    LoneAxis axis(4, rank);
    Transformer one(model, {}, &axis);
    Parameters& share = one.parameters();
    set_initial_patterns(share, *method);
    set_room_of_shares(share, whole.parameters());
    const int64_t room = share.padded_elements();
    Arena own = sized_arena("share", [&](Arena& a) { share.allocate(a, DType::kF32); });
    share.initialize(5);
    for (size_t i = 0; i < share.list().size(); ++i) {
      const Parameter& parameter = share.list()[i];
      const int there = whole.parameters().find(parameter.name);
      if (!parameter.sparse) continue;
      const Pattern all = whole.parameters().pattern_of(there);
      EXPECT_EQ(share.pattern_of(static_cast<int>(i)), share_of(all, parameter)) << parameter.name;
      std::vector<float> expected(static_cast<size_t>(parameter.elements()));
      take_share<float>(expected, whole.parameters().value(there).values<float>(), parameter, all);
      EXPECT_TRUE(std::ranges::equal(share.value(static_cast<int>(i)).values<float>(), expected))
          << parameter.name;
      EXPECT_EQ(share.most_elements(static_cast<int>(i)),
                std::min(parameter.shape.elements(), all.nonzeros()));
      weights += parameter.elements();
    }
    share.settle();
    EXPECT_LE(share.padded_elements(), room);
    EXPECT_EQ(share.values().elements(), share.padded_elements());
  }
  int64_t of_whole = 0;
  for (const Parameter& parameter : whole.parameters().list())
    of_whole += parameter.sparse ? parameter.elements() : 0;
  EXPECT_EQ(weights, of_whole);
}

}  // namespace
}  // namespace fern
