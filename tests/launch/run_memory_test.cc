#include "launch/run_memory.h"

#include <gtest/gtest.h>

#include "framework/core/error.h"
#include "launch/cut_model.h"

namespace fern {
namespace {

TEST(RunMemory, WhatOneRankHoldsCountsOnceOnAMachine) {
  const std::vector<MemoryItem> items = {{"a", 100, ""}, {"b", 30, "", true}};
  EXPECT_EQ(total_bytes(items), 130u);
  EXPECT_EQ(machine_bytes(items, 4), 430u);
}

TEST(RunMemory, ARunThatDoesNotFitIsRefusedNamingTheLargestPart) {
  const std::vector<MemoryItem> items = {{"parameters", 100, ""}, {"activations", 300, ""}};
  EXPECT_NO_THROW(expect_fits(items, 2, 800));
  try {
    expect_fits(items, 2, 799);
    FAIL() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kFailed);
    EXPECT_NE(std::string(error.what()).find("activations"), std::string::npos) << error.what();
  }
}

TEST(RunMemory, AModelTakesTheArenasThatWereMeasured) {
  const ModelConfig model = {.vocabulary = 50,
                             .layers = 2,
                             .hidden = 16,
                             .heads = 2,
                             .kv_heads = 1,
                             .head_dim = 12,
                             .ffn = 24,
                             .context = 8,
                             .qk_norm = true};
  Recipe recipe;
  recipe.batch = {.sequences = 8, .micro_sequences = 2, .reduction_shards = 4};
  EXPECT_EQ(CutModel::bytes(model, recipe, Mesh{}), measure_arenas(model, recipe, Mesh{}).total());
  CutModel cut(model, recipe, Mesh{});
  EXPECT_NO_THROW(cut.forward_backward(full_micro_batch(2, 8, 50)));
  EXPECT_NO_THROW(cut.update());
}

// Memory is what a rank's shares hold; of what they may get there are only addresses.
TEST(RunMemory, SharesOfSparseMatricesReserveAddresses) {
  const ModelConfig model = {
      .vocabulary = 50, .layers = 1, .hidden = 256, .heads = 2, .kv_heads = 2, .ffn = 1024, .context = 8};
  Recipe recipe;
  recipe.batch = {.sequences = 8, .micro_sequences = 2, .reduction_shards = 4};
  recipe.sparsity.method = SparsityMethod::kRigl;
  recipe.sparsity.sparsity = 0.9;
  const Mesh mesh = {.tensor = 2};
  const ArenaSizes shared = measure_arenas(model, recipe, mesh);
  EXPECT_EQ(shared.values, shared.all);
  EXPECT_LT(shared.values, shared.room);
  EXPECT_LT(shared.optimizer, shared.optimizer_room);
  EXPECT_LT(shared.reduction, shared.reduction_room);
  EXPECT_GT(shared.for_a_while(), 0u);
  for (const MemoryItem& item : memory_of_rank(shared, model, mesh, 0))
    if (item.name == "values" || item.name == "gradients") {
      EXPECT_EQ(item.meaning, "of all weights");
    }
  recipe.sparsity.method = SparsityMethod::kStatic;
  const ArenaSizes fixed = measure_arenas(model, recipe, mesh);
  EXPECT_EQ(fixed.values, fixed.room);
  EXPECT_GT(fixed.for_a_while(), 0u);  // products are timed
}

// Nearly all weights exist still, and now with patterns.
TEST(RunMemory, ARunThatPrunesIsLargestAfterItsFirstUpdate) {
  const ModelConfig model = {
      .vocabulary = 50, .layers = 1, .hidden = 256, .heads = 2, .kv_heads = 2, .ffn = 1024, .context = 8};
  Recipe recipe;
  recipe.batch = {.sequences = 8, .micro_sequences = 2, .reduction_shards = 4};
  recipe.sparsity.method = SparsityMethod::kGradual;
  recipe.sparsity.sparsity = 0.9;
  recipe.sparsity.interval = 1;
  recipe.train.steps = 1000;
  for (const bool global : {false, true}) {
    recipe.sparsity.global = global;
    const ArenaSizes first = measure_arenas(model, recipe, Mesh{}), peak = peak_arenas(model, recipe, Mesh{});
    EXPECT_EQ(first.patterns, 0u);
    EXPECT_GT(peak.patterns, 2 * static_cast<size_t>(0.98 * (4 * 256 * 256 + 3 * 256 * 1024)));
    EXPECT_GT(peak.values, first.values * 98 / 100);
    EXPECT_GT(peak.total(), first.total());
    EXPECT_GT(peak.for_a_while(), 0u);
  }
}

}  // namespace
}  // namespace fern
