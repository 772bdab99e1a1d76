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
};

// `next` gives one text at a time, nothing at the end. It is cut at newlines, so that a newline stays a byte
// piece as in Llama, and then at characters into lines of at most 4192 bytes, since SentencePiece drops
// longer ones in silence (it also drops lines with its reserved U+2585). Settings are Llama 2's: BPE, byte
// fallback, split digits, identity normalisation, a space put before the text. The same text gives the same
// file, byte for byte. Writes `model` whole or not at all. Errors: no text, text that is not UTF-8, too
// little text for the vocabulary (with the size that would do), a vocabulary too small for the characters,
// not writable.
void train_tokenizer(const std::filesystem::path& model,
                     const std::function<std::optional<std::string>()>& next,
                     const TokenizerOptions& options);

}  // namespace fern
