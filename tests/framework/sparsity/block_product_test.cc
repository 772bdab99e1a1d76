#include "framework/sparsity/block_product.h"

#include <gtest/gtest.h>

#include "framework/sparsity/plain_product.h"
#include "tests/framework/ops/op_testing.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern::testing {
namespace {

TEST(BlockProduct, HandlesMultiplesOfFour) {
  for (const BlockShape block : {BlockShape{4, 4}, {16, 16}, {8, 4}, {20, 12}})
    EXPECT_TRUE(BlockProduct::handles(Pattern::full(2 * block.rows, 3 * block.columns, block)));
  for (const BlockShape block : {BlockShape{}, {4, 1}, {2, 4}, {6, 6}})
    EXPECT_FALSE(BlockProduct::handles(Pattern::full(2 * block.rows, 3 * block.columns, block)));
}

// A row and a place of each block, and where each column of blocks begins.
TEST(BlockProduct, CountsItsIndexExactly) {
  const Pattern pattern = random_pattern(80, 48, {4, 4}, 0.3, 3);
  const size_t expected = static_cast<size_t>(pattern.blocks()) * (sizeof(uint16_t) + sizeof(uint32_t)) +
                          (12 + 1) * sizeof(int64_t);
  EXPECT_EQ(BlockProduct(pattern).index_bytes(), expected);
}

// More tokens and outputs than one step of dW takes at once.
TEST(BlockProduct, GradientsAddUpOverStepsOfTokens) {
  constexpr int64_t kTokens = 603, kInputs = 64, kOutputs = 144;
  const Pattern pattern = random_pattern(kOutputs, kInputs, {8, 4}, 0.4, 5);
  Values<float> x = Values<float>::random({kTokens, kInputs}, 1),
                dy = Values<float>::random({kTokens, kOutputs}, 2);
  Values<double> x_wide = Values<double>::from(x.data(), {kTokens, kInputs}),
                 dy_wide = Values<double>::from(dy.data(), {kTokens, kOutputs}),
                 expected({pattern.nonzeros()});
  plain_backward_weight(expected.tensor().as<double>(), dy_wide.tensor().as<double>(),
                        x_wide.tensor().as<double>(), pattern, kTokens);
  Values<float> got({pattern.nonzeros()});
  BlockProduct(pattern).backward_weight(got.tensor().as<float>(), dy.tensor().as<float>(),
                                        x.tensor().as<float>(), kTokens);
  for (int64_t i = 0; i < pattern.nonzeros(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-4) << i;
}

}  // namespace
}  // namespace fern::testing
