// Whether weights share the room in which they are packed changes the memory, and nothing else.
#include <gtest/gtest.h>

#include "framework/checkpoint/checkpoint.h"
#include "framework/optim/adamw.h"
#include "tests/framework/model/test_model.h"

namespace fern {
namespace {

constexpr int64_t kAlone = 1, kShared = 1 << 20;  // tokens that a product is said to have

struct Trained {
  std::string hash;
  double loss = 0;
  size_t bytes = 0;  // of the parameters' arena
};

// Some steps of two micro-batches each.
Trained train(const ModelConfig& config, int64_t tokens) {
  TestModel test(config, 1, /*packed=*/true, tokens);
  Parameters& parameters = test.model.parameters();
  std::unique_ptr<AdamW> optimizer;
  const Arena arena = sized_arena("optimizer", [&](Arena& a) {
    optimizer = std::make_unique<AdamW>(AdamWConfig{}, parameters, Slice{0, parameters.padded_elements()}, a);
  });
  test.prepare(2 * config.context);
  Trained trained = {.hash = {}, .bytes = test.parameter_arena.used_bytes()};
  for (int64_t step = 1; step <= 3; ++step) {
    fill_zero(parameters.gradients());
    for (uint64_t micro = 0; micro < 2; ++micro) {
      const MicroBatch batch = random_batch(config.vocabulary, 2, config.context, 10 * micro + 1);
      trained.loss += test.forward(batch);
      test.model.backward(*test.activations, batch, test.sink, test.stream);
    }
    optimizer->step(parameters, 1e-2, 1, step, test.stream);
  }
  trained.hash = weights_hash(parameters);
  return trained;
}

const ModelConfig kSmall = {
    .vocabulary = 50, .layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .ffn = 96, .context = 33};

void expect_same_weights(ModelConfig config, DType dtype) {
  config.dtype = dtype;
  const Trained alone = train(config, kAlone), shared = train(config, kShared);
  EXPECT_EQ(alone.hash, shared.hash);
  EXPECT_EQ(alone.loss, shared.loss);
  EXPECT_LE(shared.bytes, alone.bytes);
}

TEST(PackedWeights, SharingRoomLeavesTheWeightsEqual) {
  expect_same_weights(kSmall, DType::kF32);
  expect_same_weights(kSmall, DType::kBF16);
}

TEST(PackedWeights, SharingRoomLeavesRecomputedWeightsEqual) {
  ModelConfig config = kSmall;
  config.recompute = true;
  expect_same_weights(config, DType::kF32);
  expect_same_weights(config, DType::kBF16);
}

TEST(PackedWeights, SharingRoomLeavesExpertsEqual) {
  ModelConfig config = kSmall;
  config.experts = {.count = 4, .active = 2, .ffn = 40, .shared = 1};
  expect_same_weights(config, DType::kF32);
  expect_same_weights(config, DType::kBF16);
}

TEST(PackedWeights, SharedRoomIsThatOfTheLargest) {
  TestModel plain(kSmall, 1, /*packed=*/false);
  const size_t alone = train(kSmall, kAlone).bytes, shared = train(kSmall, kShared).bytes,
               none = plain.parameter_arena.used_bytes();
  if (alone == none) GTEST_SKIP() << "this processor, or its library, has no packed layout for f32";
  const size_t layer = 64 * (64 + 2 * 32 + 64 + 3 * 96);  // weights
  EXPECT_GE(alone - none, sizeof(float) * (2 * layer + 50 * 64));
  EXPECT_GE(shared - none, sizeof(float) * 64 * 2 * 96);
  EXPECT_LT(shared - none, sizeof(float) * layer);
}

}  // namespace
}  // namespace fern
