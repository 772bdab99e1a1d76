#include "tokenizer/parity.h"

#include <gtest/gtest.h>

#include "framework/core/error.h"
#include "tests/tokenizer/small_tokenizer.h"

namespace fern {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer tokenizer(small_tokenizer(testing::TempDir()));
  return tokenizer;
}

TEST(Parity, IsTokensForEachEnglishToken) {
  TextCost cost;
  add_pair(cost, tokenizer(), "Fungua faili", "Open the file");
  add_pair(cost, tokenizer(), "kwa  jina", "another name");
  const auto count = [](std::string_view text) {
    return static_cast<double>(tokenizer().encode(text).size());
  };
  const double tokens = count("Fungua faili") + count("kwa  jina");
  EXPECT_DOUBLE_EQ(cost.parity(), tokens / (count("Open the file") + count("another name")));
  EXPECT_DOUBLE_EQ(cost.fertility(), tokens / 4);
  EXPECT_EQ(cost.bytes, 21);
}

TEST(Parity, SameTextCostsTheSame) {
  TextCost cost;
  add_pair(cost, tokenizer(), "Open", "Open");
  EXPECT_DOUBLE_EQ(cost.parity(), 1.0);
}

TEST(Parity, NoPairIsZero) { EXPECT_EQ(TextCost{}.parity(), 0); }

TEST(Parity, WorstTenthIsTheMeanOfTheLargest) {
  std::vector<double> values;
  for (int i = 1; i <= 20; ++i) values.push_back(i);
  EXPECT_DOUBLE_EQ(worst_tenth(values), 19.5);
  EXPECT_DOUBLE_EQ(worst_tenth({3, 1}), 3);
  EXPECT_DOUBLE_EQ(worst_tenth({}), 0);
}

}  // namespace
}  // namespace fern
