#include "framework/train/evaluation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace fern {
namespace {

LanguageScore score(const char* language, int64_t bytes, double bits_per_byte, double unigram) {
  const double nats_per_bit = std::numbers::ln2 * static_cast<double>(bytes);
  return {language, 1, 1, bytes, bits_per_byte * nats_per_bit, unigram * nats_per_bit};
}

TEST(Evaluation, SummaryMatchesHandComputedFigures) {
  const std::vector<LanguageScore> scores = {score("am", 100, 1.0, 2.0), score("sw", 300, 3.0, 2.5),
                                             score("yo", 100, 2.0, 2.5)};
  const ScoreSummary summary = summarize(scores);
  EXPECT_EQ(summary.languages, 3);
  EXPECT_NEAR(summary.micro, (100.0 + 900.0 + 200.0) / 500.0, 1e-12);
  EXPECT_NEAR(summary.macro, 2.0, 1e-12);
  EXPECT_NEAR(summary.worst, 3.0, 1e-12);
  EXPECT_NEAR(summary.worst_tenth, 3.0, 1e-12);
  EXPECT_NEAR(summary.gini, 8.0 / (2 * 9 * 2.0), 1e-12);  // sum |xi - xj| over ordered pairs is 8
  EXPECT_NEAR(summary.unigram_macro, 7.0 / 3.0, 1e-12);
  EXPECT_EQ(summary.below_unigram, 2);
}

TEST(Evaluation, LanguagesWithoutBytesDoNotCount) {
  const std::vector<LanguageScore> scores = {score("am", 100, 1.0, 2.0), LanguageScore{.language = "xx"}};
  EXPECT_EQ(summarize(scores).languages, 1);
  EXPECT_NEAR(summarize(scores).macro, 1.0, 1e-12);
}

}  // namespace
}  // namespace fern
