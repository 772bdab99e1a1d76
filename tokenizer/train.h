// Trains a SentencePiece BPE tokenizer with Llama's options through the library.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace fern {

struct TokenizerOptions {
  int64_t vocabulary = 8000;  // pieces in all: special, chat, bytes and learned
  double character_coverage = 0.99995;
  int threads = 2;
};

// `next` gives one line of text at a time, nothing at the end; lines over 4192 bytes are cut at a character,
// since SentencePiece drops them in silence. BPE, byte fallback, split digits, identity normalisation, no
// dummy prefix changes beyond Llama's. Writes `model` whole or not at all. Errors: too little text for the
// vocabulary (with the size that would do).
void train_tokenizer(const std::filesystem::path& model,
                     const std::function<std::optional<std::string>()>& next,
                     const TokenizerOptions& options);

}  // namespace fern
