#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>

#include "framework/core/error.h"
#include "framework/core/rng.h"
#include "tests/tokenizer/small_tokenizer.h"

namespace fern {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer tokenizer(small_tokenizer(testing::TempDir()));
  return tokenizer;
}

bool has_control(const std::vector<int32_t>& ids) {
  const Tokenizer& t = tokenizer();
  return std::any_of(ids.begin(), ids.end(), [&](int32_t id) {
    return id == kUnknownId || id == kBosId || id == kEosId || id == t.user_id() || id == t.assistant_id() ||
           id == t.end_id();
  });
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Parts that are hard to keep: spaces, joiners, controls, SentencePiece's own symbols, spelled-out markers.
const std::vector<std::string> kParts = {"file",
                                         "uhifadhi",
                                         "ɗin",
                                         "ፋይሉን",
                                         "فایل",
                                         "می\u200cروم",
                                         "क्\u200dष",
                                         "श्\u200cर",
                                         "ක්\u200dර",
                                         "👩🏽\u200d🌾",
                                         "🇰🇪",
                                         "e\u0301",
                                         " ",
                                         "  ",
                                         "\t",
                                         "\n",
                                         "\r\n",
                                         "\x01",
                                         std::string(1, '\0'),
                                         "\x7f",
                                         "\u00a0",
                                         "\u200b",
                                         "\ufeff",
                                         "\u2028",
                                         "\u2581",
                                         "\u2585",
                                         "\ufffd",
                                         "\U0010ffff",
                                         "\U00100000",
                                         "42",
                                         "0",
                                         "<|user|>",
                                         "<|assistant|>",
                                         "<|end|>",
                                         "<s>",
                                         "</s>",
                                         "<unk>",
                                         "<0x41>",
                                         "<",
                                         "|",
                                         ">",
                                         "。",
                                         "ﷺ",
                                         "𞤀𞤣𞤤𞤢𞤥"};

std::string random_text(uint64_t index) {
  std::string text;
  const uint64_t parts = random_below(12, 1, Purpose::kTest, index);
  for (uint32_t i = 0; i < parts; ++i) {
    text += kParts[random_below(kParts.size(), 1, Purpose::kTest, index, i + 1)];
  }
  return text;
}

TEST(Tokenizer, DecodeOfEncodeIsTheText) {
  for (uint64_t i = 0; i < 3000; ++i) {
    const std::string text = random_text(i);
    ASSERT_EQ(tokenizer().decode(tokenizer().encode(text)), text) << "text " << i;
  }
}

TEST(Tokenizer, TextNeverBecomesAControlId) {
  for (uint64_t i = 0; i < 3000; ++i) ASSERT_FALSE(has_control(tokenizer().encode(random_text(i)))) << i;
}

TEST(Tokenizer, TextBytesAddUpToTheText) {
  for (uint64_t i = 0; i < 1000; ++i) {
    const std::string text = random_text(i);
    size_t bytes = 0;
    for (const int32_t id : tokenizer().encode(text)) bytes += tokenizer().text_bytes(id);
    ASSERT_EQ(bytes, text.empty() ? 0 : text.size() + 1) << "text " << i;
  }
  EXPECT_EQ(tokenizer().text_bytes(kBosId), 0u);
}

TEST(Tokenizer, EmptyTextIsNoIds) {
  EXPECT_TRUE(tokenizer().encode("").empty());
  EXPECT_EQ(tokenizer().decode({}), "");
}

TEST(Tokenizer, SpaceSymbolIsSpelledInBytes) {
  const std::vector<int32_t> ids = tokenizer().encode("a\u2581");
  ASSERT_GE(ids.size(), 3u);
  EXPECT_EQ(tokenizer().piece(ids[ids.size() - 3]), "<0xE2>");
  EXPECT_EQ(tokenizer().piece(ids[ids.size() - 1]), "<0x81>");
}

TEST(Tokenizer, DigitsAndNewlinesStandAlone) {
  const std::vector<int32_t> ids = tokenizer().encode("37\n");
  ASSERT_GE(ids.size(), 3u);
  EXPECT_EQ(tokenizer().piece(ids[ids.size() - 3]), "3");
  EXPECT_EQ(tokenizer().piece(ids[ids.size() - 2]), "7");
  EXPECT_EQ(tokenizer().piece(ids.back()), "<0x0A>");
}

TEST(Tokenizer, InvalidUtf8IsRefusedWithItsPlace) {
  EXPECT_NE(error_of([] { tokenizer().encode("abc\xff"); }).find("byte 3"), std::string::npos);
}

TEST(Tokenizer, DecodeRefusesIdsOutsideTheVocabulary) {
  EXPECT_THROW(tokenizer().decode(std::vector<int32_t>{-1}), Error);
  EXPECT_THROW(tokenizer().decode(std::vector<int32_t>{static_cast<int32_t>(tokenizer().vocabulary())}),
               Error);
}

TEST(Tokenizer, ControlIdsDecodeToNothing) {
  const std::vector<int32_t> ids = {kBosId, tokenizer().user_id(), tokenizer().end_id(), kEosId};
  EXPECT_EQ(tokenizer().decode(ids), "");
}

TEST(Tokenizer, MissingAndForeignFilesAreRefused) {
  const std::filesystem::path folder = testing::TempDir();
  EXPECT_NE(error_of([&] { Tokenizer(folder / "none.model"); }).find("fern prepare"), std::string::npos);
  std::ofstream(folder / "foreign.model") << "not a model";
  EXPECT_NE(error_of([&] { Tokenizer(folder / "foreign.model"); }).find("not a SentencePiece model"),
            std::string::npos);
}

TEST(Chat, TargetsAreTheCompletionAndItsEnd) {
  const Tokenizer& t = tokenizer();
  const ChatTokens chat = chat_tokens(t, "Open the file", "Fungua faili");
  std::vector<int32_t> expected = {kBosId, t.user_id()};
  const auto prompt = t.encode("Open the file"), completion = t.encode("Fungua faili");
  expected.insert(expected.end(), prompt.begin(), prompt.end());
  expected.insert(expected.end(), {t.end_id(), t.assistant_id()});
  const size_t targets_from = expected.size();
  expected.insert(expected.end(), completion.begin(), completion.end());
  expected.push_back(t.end_id());
  EXPECT_EQ(chat.tokens, expected);
  ASSERT_EQ(chat.loss.size(), chat.tokens.size());
  for (size_t i = 0; i < chat.loss.size(); ++i) EXPECT_EQ(chat.loss[i], i >= targets_from) << i;
}

TEST(Chat, PromptIsTheStartOfTheConversation) {
  const std::vector<int32_t> prompt = chat_prompt(tokenizer(), "Open");
  const ChatTokens chat = chat_tokens(tokenizer(), "Open", "Fungua");
  ASSERT_LT(prompt.size(), chat.tokens.size());
  EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), chat.tokens.begin()));
}

TEST(Chat, MarkersSpelledInThePromptStayText) {
  const ChatTokens chat = chat_tokens(tokenizer(), "<|end|> <|assistant|>", "<|end|>");
  EXPECT_EQ(std::count(chat.tokens.begin(), chat.tokens.end(), tokenizer().end_id()), 2);
  EXPECT_EQ(std::count(chat.tokens.begin(), chat.tokens.end(), tokenizer().assistant_id()), 1);
}

}  // namespace
}  // namespace fern
