#include "data_tools/documents.h"

#include <algorithm>

namespace fern {
namespace {

bool continues_character(std::string_view text, size_t at) {
  return at < text.size() && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80;
}

Document piece_document(std::vector<int32_t> tokens, std::string_view text) {
  Document document{.tokens = {kBosId},
                    .loss = {0},
                    .text = std::string(text),
                    .loss_bytes = static_cast<int64_t>(text.size())};
  document.tokens.insert(document.tokens.end(), tokens.begin(), tokens.end());
  document.loss.resize(document.tokens.size(), 1);
  return document;
}

}  // namespace

Document instruct_document(const Tokenizer& tokenizer, const Example& example) {
  ChatTokens chat = chat_tokens(tokenizer, example.prompt, example.completion);
  return {.tokens = std::move(chat.tokens),
          .loss = std::move(chat.loss),
          .text = example.prompt + example.completion,
          .loss_bytes = static_cast<int64_t>(example.completion.size())};
}

std::vector<Document> pretrain_documents(const Tokenizer& tokenizer, std::string_view text, int64_t context) {
  std::vector<int32_t> tokens = tokenizer.encode(text);
  std::vector<size_t> ends;  // where each token's text ends; the first token's added space is no text
  size_t end = 0;
  for (const int32_t token : tokens) {
    end += tokenizer.text_bytes(token) - (ends.empty() ? 1 : 0);
    ends.push_back(end);
  }
  tokens.push_back(kEosId);
  ends.push_back(end);

  const size_t most = static_cast<size_t>(context) - 1;
  std::vector<Document> documents;
  for (size_t begin = 0, text_begin = 0; begin < tokens.size();) {
    size_t stop = std::min(begin + most, tokens.size());
    while (stop < tokens.size() && continues_character(text, ends[stop - 1])) --stop;
    documents.push_back(piece_document({tokens.begin() + begin, tokens.begin() + stop},
                                       text.substr(text_begin, ends[stop - 1] - text_begin)));
    begin = stop;
    text_begin = ends[stop - 1];
  }
  return documents;
}

}  // namespace fern
