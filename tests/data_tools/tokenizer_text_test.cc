#include "data_tools/tokenizer_text.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/data_tools/small_collection.h"

namespace fern {
namespace {

Corpus corpus_of(const std::string& language, int count) {
  const auto file = std::filesystem::path(testing::TempDir()) / "text.jsonl";
  write_lines(file, small_segments(language, count));
  return read_corpus(language, {{.path = file, .origins = nullptr}},
                     {.valid_percent = 20, .test_percent = 20});
}

int64_t bytes_of(const std::vector<std::string>& texts) {
  int64_t bytes = 0;
  for (const std::string& text : texts) bytes += static_cast<int64_t>(text.size());
  return bytes;
}

TEST(TokenizerText, ComesFromTheTrainingSplitOnly) {
  const Corpus corpus = corpus_of("sw", 300);
  std::set<std::string> training;
  for (const auto& segment : corpus.segments)
    if (segment.split == Split::kTrain) training.insert(segment.segment.text);
  const auto drawn = draw_text(corpus, 4000);
  EXPECT_GE(bytes_of(drawn), 4000);
  EXPECT_LT(bytes_of(drawn), 4000 + 100);
  for (const std::string& text : drawn) EXPECT_TRUE(training.contains(text));
}

TEST(TokenizerText, SmallLanguagesAreRepeatedNoMoreThanMaxEpochs) {
  TextSizes sizes;
  const Corpus small = corpus_of("am", 20);
  sizes.add(small);
  sizes.add(corpus_of("sw", 300));
  const auto budget = tokenizer_budget(sizes, {.alpha = 0, .max_epochs = 3}, {}, 1000000);
  EXPECT_DOUBLE_EQ(budget.at("am"), 3.0 * static_cast<double>(sizes.bytes.at("am")));
}

TEST(TokenizerText, BudgetFollowsTheRule) {
  TextSizes sizes;
  sizes.bytes = {{"am", 100}, {"sw", 10000}};
  sizes.english = {{1, 10000}};
  const auto budget = tokenizer_budget(sizes, {.alpha = 0.5, .max_epochs = 100}, {}, 2100);
  EXPECT_NEAR(budget.at("sw") / budget.at("am"), 10.0, 1e-9);
  EXPECT_NEAR(budget.at(kEnglishSource), 1000, 1e-6);
}

TEST(TokenizerText, ExplicitWeightsAreFoundByName) {
  TextSizes sizes;
  sizes.bytes = {{"am", 1000}, {"sw", 1000}};
  sizes.english = {{1, 1000}};
  const BalanceRule rule{.kind = BalanceKind::kWeights, .weights = {3, 1}};
  const auto budget = tokenizer_budget(sizes, rule, {"sw", "am"}, 600);
  EXPECT_NEAR(budget.at("sw"), 300, 1e-6);
  EXPECT_NEAR(budget.at("am"), 100, 1e-6);
  EXPECT_NEAR(budget.at(kEnglishSource), 200, 1e-6);
}

TEST(TokenizerText, EnglishIsCountedOnceForAllLanguages) {
  TextSizes one, two;
  one.add(corpus_of("am", 100));
  two.add(corpus_of("am", 100));
  two.add(corpus_of("sw", 100));
  EXPECT_EQ(one.english_bytes(), two.english_bytes());
}

TEST(TokenizerText, EnglishShareAgreesAcrossLanguages) {
  std::set<uint64_t> first, second;
  for (const auto& [key, text] : draw_english(corpus_of("am", 300), 0.5)) first.insert(key);
  for (const auto& [key, text] : draw_english(corpus_of("sw", 300), 0.5)) second.insert(key);
  EXPECT_EQ(first, second);
  EXPECT_NEAR(static_cast<double>(first.size()), 90, 25);
}

}  // namespace
}  // namespace fern
