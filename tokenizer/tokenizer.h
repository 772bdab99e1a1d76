// Text <-> ids: SentencePiece behind one small class, with Fern's chat tokens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fern {

// Chat markers are control symbols of the model: encode() never makes them from text, whatever the text
// spells.
inline constexpr std::string_view kUserMarker = "<|user|>";
inline constexpr std::string_view kAssistantMarker = "<|assistant|>";
inline constexpr std::string_view kEndMarker = "<|end|>";

// Llama's special ids.
inline constexpr int32_t kUnknownId = 0, kBosId = 1, kEosId = 2;

class Tokenizer {
 public:
  // Errors: missing, not a SentencePiece model, chat markers or special ids not as above.
  explicit Tokenizer(const std::filesystem::path& model);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;

  // Ids of plain text, no bos or eos; never a control id. Safe to call from many threads. U+2581, which
  // SentencePiece takes for a space, is spelled as its three bytes, so that decode(encode(x)) == x for all x
  // that is UTF-8. Errors: text is not UTF-8 (byte offset named).
  std::vector<int32_t> encode(std::string_view text) const;
  // Control tokens give nothing; bytes that do not make up a character give U+FFFD. The first piece's one
  // leading space is the prefix that encode() added and is dropped. Errors: an id outside the vocabulary.
  std::string decode(std::span<const int32_t> ids) const;
  std::string piece(int32_t id) const;
  // UTF-8 bytes of text that the id stands for, a space counted: 0 for control ids. The first id of a text
  // has one more than its text, the space that encode() put before it. REQUIRES an id of the vocabulary.
  size_t text_bytes(int32_t id) const;
  int64_t vocabulary() const;
  int32_t user_id() const;
  int32_t assistant_id() const;
  int32_t end_id() const;
  const std::string& sha256() const;  // of the model file
  const std::filesystem::path& path() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A conversation turn by turn: <s> <|user|> prompt <|end|> <|assistant|> completion <|end|>. The chat
// template of exports spells the same. Completion tokens and the <|end|> after them are targets; nothing else
// is.
struct ChatTokens {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> loss;
};
ChatTokens chat_tokens(const Tokenizer& tokenizer, std::string_view prompt, std::string_view completion);
// The prompt as generation starts from it: up to and with <|assistant|>.
std::vector<int32_t> chat_prompt(const Tokenizer& tokenizer, std::string_view prompt);

}  // namespace fern
