#include "tokenizer/train.h"

#include <sentencepiece_trainer.h>

#include <charconv>
#include <unordered_map>

#include "framework/core/error.h"
#include "framework/core/files.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace fern {
namespace {

constexpr size_t kMaxLineBytes = 4192;

// Hands SentencePiece pieces of lines that are short enough to be kept.
class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::function<std::optional<std::string>()>& next) : next_(next) { Next(); }
  bool done() const override { return done_; }
  const std::string& value() const override { return value_; }
  sentencepiece::util::Status status() const override { return {}; }

  void Next() override {
    do {
      if (at_ >= text_.size() && !fetch()) return;
      const std::string_view rest = std::string_view(text_).substr(at_);
      value_ = utf8_prefix(rest.substr(0, rest.find('\n')), kMaxLineBytes);
      at_ += value_.size() + (value_.size() < rest.size() && rest[value_.size()] == '\n');
    } while (value_.empty());
  }

 private:
  bool fetch() {
    std::optional<std::string> text = next_();
    done_ = !text;
    if (done_) return false;
    if (const auto offset = first_invalid_utf8(*text)) {
      fail("tokenizer training: expected UTF-8, but text {} has an invalid sequence at byte {}", texts_,
           *offset);
    }
    ++texts_;
    text_ = std::move(*text);
    at_ = 0;
    return true;
  }

  const std::function<std::optional<std::string>()>& next_;
  bool done_ = false;
  int64_t texts_ = 0;
  std::string text_, value_;
  size_t at_ = 0;  // where the rest of text_ begins
};

// Llama 2's trainer settings. A newline never reaches the trainer, so it stays a byte piece, as in Llama.
std::unordered_map<std::string, std::string> trainer_settings(const TokenizerOptions& options) {
  return {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(options.vocabulary)},
      {"character_coverage", std::to_string(options.character_coverage)},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"allow_whitespace_only_pieces", "true"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "true"},
      {"unk_id", std::to_string(kUnknownId)},
      {"bos_id", std::to_string(kBosId)},
      {"eos_id", std::to_string(kEosId)},
      {"pad_id", "-1"},
      {"control_symbols", fmt::format("{},{},{}", kUserMarker, kAssistantMarker, kEndMarker)},
      {"max_sentence_length", std::to_string(kMaxLineBytes)},
      {"num_threads", "2"},  // becomes part of the file, so it may not vary; the pieces do not depend on it
      {"minloglevel", "3"},  // errors come back as a status; the rest is noise
  };
}

// The last number in `text` after `mark`, if the library's message has it.
std::optional<int64_t> number_after(std::string_view text, std::string_view mark) {
  const size_t at = text.find(mark);
  if (at == text.npos) return std::nullopt;
  const std::string_view tail = text.substr(at + mark.size());
  int64_t number = 0;
  const auto [end, error] = std::from_chars(tail.data(), tail.data() + tail.size(), number);
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

[[noreturn]] void explain(const std::string& message, const TokenizerOptions& options) {
  if (const auto most = number_after(message, "Please set it to a value <= ")) {
    fail(
        "tokenizer training: too little text for a vocabulary of {}; the text allows at most {}. Set "
        "tokenizer.vocabulary to {} or less, or give more text",
        options.vocabulary, *most, *most);
  }
  if (message.find("Vocabulary size is smaller than required_chars") != message.npos) {
    const auto characters = number_after(message, fmt::format("{} vs ", options.vocabulary));
    fail(
        "tokenizer training: a vocabulary of {} does not even hold the bytes and the characters of the "
        "text{}. "
        "Raise tokenizer.vocabulary, or lower tokenizer.character_coverage",
        options.vocabulary, characters ? fmt::format("; at least {} is needed", *characters) : "");
  }
  fail("tokenizer training with a vocabulary of {}: {}", options.vocabulary, message);
}

}  // namespace

void train_tokenizer(const std::filesystem::path& model,
                     const std::function<std::optional<std::string>()>& next,
                     const TokenizerOptions& options) {
  Lines lines(next);
  expect(!lines.done(), "tokenizer training: expected text, got none; no tokenizer was made");
  std::string bytes;
  const auto status = sentencepiece::SentencePieceTrainer::Train(trainer_settings(options), &lines, &bytes);
  if (!status.ok()) explain(status.ToString(), options);
  write_text_durably(model, bytes);
}

}  // namespace fern
