// The ledger: what each language has been given so far, counted exactly, written as ledger.json in the run
// folder.
#pragma once

#include <nlohmann/json.hpp>

#include <span>
#include <string>
#include <vector>

#include "framework/data/loader.h"

namespace fern {

class Ledger {
 public:
  Ledger() = default;
  // Errors: languages out of the byte order of their codes, or twice.
  explicit Ledger(std::vector<std::string> languages);
  // Adds one step's counts, and its sequences' digests (token_stream.h) to the token stream's hash. Errors:
  // another number of languages, or of sequences in a language than before.
  void add(const std::vector<LanguageCounts>& counts, std::span<const double> digest_words);
  const std::vector<std::string>& languages() const { return languages_; }
  const std::vector<LanguageCounts>& counts() const { return counts_; }
  int64_t steps() const { return steps_; }
  // Of all steps so far; "" before the first.
  const std::string& token_stream_sha256() const { return token_stream_; }
  // {"steps": n, "token_stream_sha256": "...", "languages": {"am": {"sequences": ..., "tokens": ...,
  // "loss_tokens": ..., "bytes": ..., "available": ..., "epochs": ...}}}; all integers but epochs, which is
  // sequences / available.
  nlohmann::json to_json() const;
  // Errors: not a ledger.
  static Ledger from_json(const nlohmann::json& json);
  // Errors: the ledger is of other languages; names both.
  void expect_languages(const std::vector<std::string>& languages) const;

 private:
  std::vector<std::string> languages_;
  std::vector<LanguageCounts> counts_;
  int64_t steps_ = 0;
  std::string token_stream_;
};

}  // namespace fern
