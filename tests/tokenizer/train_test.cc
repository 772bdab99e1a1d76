#include "tokenizer/train.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "framework/core/error.h"
#include "framework/core/hash.h"
#include "tests/tokenizer/small_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace fern {
namespace {

std::filesystem::path model_path(const std::string& name) {
  return std::filesystem::path(testing::TempDir()) / name;
}

std::string train_error(const std::vector<std::string>& texts, int64_t vocabulary,
                        const std::filesystem::path& model = model_path("refused.model")) {
  try {
    train_tokenizer(model, each_of(texts), {.vocabulary = vocabulary});
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TrainTokenizer, HasTheVocabularyAskedFor) {
  EXPECT_EQ(Tokenizer(small_tokenizer(testing::TempDir(), 600)).vocabulary(), 600);
}

TEST(TrainTokenizer, SameTextGivesTheSameBytes) {
  const std::string first = sha256_of_file(small_tokenizer(testing::TempDir()));
  EXPECT_EQ(sha256_of_file(small_tokenizer(testing::TempDir())), first);
}

TEST(TrainTokenizer, TooLargeVocabularyNamesOneThatWouldDo) {
  const std::string message = train_error(small_corpus(), 50000);
  const std::string mark = "Set tokenizer.vocabulary to ";
  ASSERT_NE(message.find(mark), std::string::npos) << message;
  const int64_t would_do = std::stoll(message.substr(message.find(mark) + mark.size()));
  EXPECT_EQ(train_error(small_corpus(), would_do, model_path("fits.model")), "");
  EXPECT_FALSE(std::filesystem::exists(model_path("refused.model")));
}

TEST(TrainTokenizer, TooSmallVocabularyNamesOneThatWouldDo) {
  const std::string message = train_error(small_corpus(), 270);
  const std::string mark = "at least ";
  ASSERT_NE(message.find(mark), std::string::npos) << message;
  const int64_t would_do = std::stoll(message.substr(message.find(mark) + mark.size()));
  EXPECT_EQ(train_error(small_corpus(), would_do, model_path("least.model")), "");
}

TEST(TrainTokenizer, NoTextIsRefused) {
  EXPECT_NE(train_error({}, 300).find("got none"), std::string::npos);
  EXPECT_NE(train_error({"", "\n"}, 300).find("got none"), std::string::npos);
}

TEST(TrainTokenizer, InvalidUtf8IsRefused) {
  EXPECT_NE(train_error({"good", "b\xc3"}, 300).find("text 1 has an invalid sequence at byte 1"),
            std::string::npos);
}

TEST(TrainTokenizer, LongLinesAreCutNotDropped) {
  std::string line;
  while (line.size() < 20000) line += "ɓukata ";
  train_tokenizer(model_path("long.model"), each_of({line}), {.vocabulary = 275});
  EXPECT_EQ(Tokenizer(model_path("long.model")).encode("ɓ").size(), 1u);  // learned with its prefix
}

TEST(TrainTokenizer, MissingFolderIsNamed) {
  EXPECT_NE(train_error(small_corpus(), 520, model_path("no/such/folder/x.model")).find("cannot write"),
            std::string::npos);
}

TEST(TrainTokenizer, MarkersInTheTextAreNotLearned) {
  std::vector<std::string> texts = small_corpus();
  for (int i = 0; i < 500; ++i) texts.push_back("<|user|><|end|><s>");
  train_tokenizer(model_path("marked.model"), each_of(texts), {.vocabulary = 520});
  const Tokenizer tokenizer(model_path("marked.model"));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("<|user|><|end|><s>")), "<|user|><|end|><s>");
}

}  // namespace
}  // namespace fern
