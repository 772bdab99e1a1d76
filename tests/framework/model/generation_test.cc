// Generation against the plain path.
#include <gtest/gtest.h>

#include "tests/framework/model/test_model.h"

namespace fern {
namespace {

const ModelConfig kConfig = {.vocabulary = 50,
                             .layers = 2,
                             .hidden = 32,
                             .heads = 4,
                             .kv_heads = 2,
                             .ffn = 48,
                             .context = 160,
                             .dtype = DType::kF64};

std::vector<int32_t> random_tokens(int64_t count) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random_below(static_cast<uint64_t>(kConfig.vocabulary), 9,
                                                       Purpose::kTest, static_cast<uint64_t>(i))));
  return tokens;
}

// Row `row` of logits, against what the cache says after that token.
void expect_row(const std::vector<float>& logits, size_t row, std::span<const float> next) {
  const auto vocabulary = static_cast<size_t>(kConfig.vocabulary);
  ASSERT_EQ(next.size(), vocabulary);
  for (size_t v = 0; v < vocabulary; ++v)
    ASSERT_NEAR(next[v], logits[row * vocabulary + v], 1e-5) << "position " << row << ", token " << v;
}

class Generation : public testing::TestWithParam<bool> {};

TEST_P(Generation, PromptThenOneByOneEqualsThePlainPath) {
  ModelConfig config = kConfig;
  config.qk_norm = GetParam();
  config.head_dim = GetParam() ? 12 : 0;
  TestModel test(config);
  const std::vector<int32_t> tokens = random_tokens(160);
  const std::vector<float> logits = test.model.logits(tokens, test.stream);
  const auto cache = test.model.make_cache(160);
  const size_t prompt = 150;  // more than two pieces
  expect_row(logits, prompt - 1,
             test.model.next_logits(*cache, std::span(tokens).first(prompt), test.stream));
  for (size_t t = prompt; t < tokens.size(); ++t)
    expect_row(logits, t, test.model.next_logits(*cache, std::span(tokens).subspan(t, 1), test.stream));
}

INSTANTIATE_TEST_SUITE_P(Heads, Generation, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "QkNorm" : "Plain"; });

TEST(Cache, PromptInTwoPartsEqualsOne) {
  TestModel test(kConfig);
  const std::vector<int32_t> tokens = random_tokens(20);
  const std::vector<float> logits = test.model.logits(tokens, test.stream);
  const auto cache = test.model.make_cache(20);
  test.model.next_logits(*cache, std::span(tokens).first(7), test.stream);
  expect_row(logits, 19, test.model.next_logits(*cache, std::span(tokens).subspan(7), test.stream));
}

TEST(Cache, RefusesMoreTokensThanItHolds) {
  TestModel test(kConfig);
  const auto cache = test.model.make_cache(4);
  EXPECT_THROW(test.model.next_logits(*cache, random_tokens(5), test.stream), Error);
  EXPECT_THROW(test.model.next_logits(*cache, {}, test.stream), Error);
}

TEST(Cache, RefusesToBeLongerThanTheContext) {
  TestModel test(kConfig);
  EXPECT_THROW(test.model.make_cache(161), Error);
}

}  // namespace
}  // namespace fern
