#include "data_tools/documents.h"

#include <gtest/gtest.h>

#include "framework/core/rng.h"
#include "tests/tokenizer/small_tokenizer.h"
#include "tokenizer/utf8.h"

namespace fern {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer tokenizer(small_tokenizer(testing::TempDir()));
  return tokenizer;
}

std::string random_text(uint64_t index) {
  const std::vector<std::string> parts = {
      "Open the file. ", "ፋይሉን ", "👩🏽\u200d🌾", "क्\u200dष", "\u2581", " ", "日本", "7"};
  std::string text = "x";
  const uint64_t count = random_below(60, 2, Purpose::kTest, index);
  for (uint32_t i = 0; i < count; ++i)
    text += parts[random_below(parts.size(), 2, Purpose::kTest, index, i + 1)];
  return text;
}

TEST(InstructDocument, TextIsPromptThenCompletion) {
  const Document document = instruct_document(tokenizer(), {.prompt = "Open?", .completion = "ፋይሉን"});
  const ChatTokens chat = chat_tokens(tokenizer(), "Open?", "ፋይሉን");
  EXPECT_EQ(document.tokens, chat.tokens);
  EXPECT_EQ(document.loss, chat.loss);
  EXPECT_EQ(document.text, "Open?ፋይሉን");
  EXPECT_EQ(document.loss_bytes, static_cast<int64_t>(std::string("ፋይሉን").size()));
}

TEST(PretrainDocuments, ShortTextIsOneDocument) {
  const auto documents = pretrain_documents(tokenizer(), "Open the file", 64);
  ASSERT_EQ(documents.size(), 1u);
  std::vector<int32_t> expected = {kBosId};
  for (const int32_t id : tokenizer().encode("Open the file")) expected.push_back(id);
  expected.push_back(kEosId);
  EXPECT_EQ(documents[0].tokens, expected);
  EXPECT_EQ(documents[0].loss[0], 0);
  EXPECT_EQ(std::count(documents[0].loss.begin(), documents[0].loss.end(), 1),
            static_cast<int64_t>(expected.size()) - 1);
  EXPECT_EQ(documents[0].loss_bytes, 13);
}

TEST(PretrainDocuments, PiecesFitAndMakeUpTheText) {
  for (uint64_t i = 0; i < 300; ++i) {
    const std::string text = random_text(i);
    const int64_t context = 8 + static_cast<int64_t>(i % 40);
    std::string joined;
    std::vector<int32_t> tokens;
    for (const Document& piece : pretrain_documents(tokenizer(), text, context)) {
      ASSERT_LE(static_cast<int64_t>(piece.tokens.size()), context);
      ASSERT_EQ(piece.tokens[0], kBosId);
      ASSERT_EQ(piece.loss.size(), piece.tokens.size());
      ASSERT_EQ(piece.loss_bytes, static_cast<int64_t>(piece.text.size()));
      ASSERT_FALSE(first_invalid_utf8(piece.text));
      joined += piece.text;
      tokens.insert(tokens.end(), piece.tokens.begin() + 1, piece.tokens.end());
    }
    EXPECT_EQ(joined, text);
    std::vector<int32_t> expected = tokenizer().encode(text);
    expected.push_back(kEosId);
    EXPECT_EQ(tokens, expected);
  }
}

}  // namespace
}  // namespace fern
