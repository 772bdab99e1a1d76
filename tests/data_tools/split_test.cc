#include "data_tools/split.h"

#include <gtest/gtest.h>

#include "framework/core/hash.h"

namespace fern {
namespace {

TEST(Normalised, CaseAndPunctuationDoNotMatter) {
  EXPECT_EQ(normalised("  _Open… the FILE! "), "open the file");
  EXPECT_EQ(normalised("É-2"), "é 2");
}

TEST(Normalised, MarksOfIndicScriptsStay) { EXPECT_EQ(normalised("नेपाली।"), "नेपाली"); }

TEST(Normalised, TextWithoutLettersIsItself) { EXPECT_EQ(normalised("→"), "→"); }

TEST(Split, SharesComeOutAsAsked) {
  int counts[kSplits] = {};
  for (int i = 0; i < 20000; ++i) ++counts[static_cast<int>(split_of(xxh64(std::to_string(i)), 5, 10))];
  EXPECT_NEAR(counts[static_cast<int>(Split::kValid)], 1000, 100);
  EXPECT_NEAR(counts[static_cast<int>(Split::kTest)], 2000, 150);
}

TEST(Split, MoreValidationTakesNothingFromTest) {
  for (uint64_t key = 0; key < 2000; ++key) {
    const bool test = split_of(xxh64(std::to_string(key)), 2, 5) == Split::kTest;
    EXPECT_EQ(split_of(xxh64(std::to_string(key)), 20, 5) == Split::kTest, test);
  }
}

}  // namespace
}  // namespace fern
