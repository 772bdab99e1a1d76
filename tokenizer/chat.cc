#include "tokenizer/tokenizer.h"

namespace fern {

std::vector<int32_t> chat_prompt(const Tokenizer& tokenizer, std::string_view prompt) {
  std::vector<int32_t> tokens{kBosId, tokenizer.user_id()};
  const std::vector<int32_t> ids = tokenizer.encode(prompt);
  tokens.insert(tokens.end(), ids.begin(), ids.end());
  tokens.push_back(tokenizer.end_id());
  tokens.push_back(tokenizer.assistant_id());
  return tokens;
}

ChatTokens chat_tokens(const Tokenizer& tokenizer, std::string_view prompt, std::string_view completion) {
  ChatTokens chat{.tokens = chat_prompt(tokenizer, prompt), .loss = {}};
  chat.loss.assign(chat.tokens.size(), 0);
  const std::vector<int32_t> ids = tokenizer.encode(completion);
  chat.tokens.insert(chat.tokens.end(), ids.begin(), ids.end());
  chat.tokens.push_back(tokenizer.end_id());
  chat.loss.resize(chat.tokens.size(), 1);
  return chat;
}

}  // namespace fern
