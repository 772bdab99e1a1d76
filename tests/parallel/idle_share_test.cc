#include "parallel/idle_share.h"

#include <gtest/gtest.h>

#include "framework/model/transformer.h"

namespace fern {
namespace {

// Of equal layers, with a head that is next to nothing.
ModelConfig model(int64_t layers, bool tied = false) {
  return {.vocabulary = 2,
          .layers = layers,
          .hidden = 64,
          .heads = 4,
          .kv_heads = 4,
          .ffn = 176,
          .context = 32,
          .tie_embeddings = tied};
}

// Of the time at work, as papers have it.
double of_work(double share) { return share / (1 - share); }

TEST(IdleShare, OneStageNeverWaits) { EXPECT_NEAR(idle_share(model(4), {}, 8, 2), 0, 1e-12); }

TEST(IdleShare, IsThatOfEqualParts) {
  for (int64_t stages = 2; stages <= 4; ++stages)
    for (int64_t parts = 1; parts <= 3; ++parts)
      for (int64_t groups = 1; groups <= 4; ++groups) {
        const Mesh mesh{.pipeline = stages, .virtual_stages = parts};
        const int64_t micro_batches = groups * stages;
        const double expected = static_cast<double>(stages - 1) / static_cast<double>(parts * micro_batches);
        EXPECT_NEAR(of_work(idle_share(model(stages * parts), mesh, micro_batches, micro_batches)), expected,
                    0.02 * expected)
            << stages << " stages of " << parts << " parts, " << micro_batches << " micro-batches";
      }
}

TEST(IdleShare, TheLongestPartHoldsUpTheOthers) {
  const Mesh mesh{.pipeline = 2};
  // Two layers and one: the second stage waits for half of the time at least.
  EXPECT_GT(idle_share(model(3), mesh, 64, 64), 0.25);
  EXPECT_LT(idle_share(model(4), mesh, 64, 64), 0.02);
}

// The last stage waits for the gradient of what the first embedded.
TEST(IdleShare, ATiedEmbeddingWaitsAtTheEndOfEachShard) {
  const Mesh mesh{.pipeline = 4};
  EXPECT_DOUBLE_EQ(idle_share(model(4), mesh, 16, 2), idle_share(model(4), mesh, 16, 16));
  EXPECT_GT(idle_share(model(4, true), mesh, 16, 2), 1.5 * idle_share(model(4, true), mesh, 16, 16));
}

}  // namespace
}  // namespace fern
