// The ledger: what each language has been given so far, counted exactly, written as ledger.json in the run
// folder.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "framework/data/loader.h"

namespace fern {

class Ledger {
 public:
  Ledger() = default;
  // Errors: languages out of the byte order of their codes, or twice.
  explicit Ledger(std::vector<std::string> languages);
  // Adds one step's counts. Errors: another number of languages, or of sequences in a language than before.
  void add(const std::vector<LanguageCounts>& counts);
  const std::vector<std::string>& languages() const { return languages_; }
  const std::vector<LanguageCounts>& counts() const { return counts_; }
  int64_t steps() const { return steps_; }
  // {"steps": n, "languages": {"am": {"sequences": ..., "tokens": ..., "loss_tokens": ..., "bytes": ...,
  // "available": ..., "epochs": ...}}}; all integers but epochs, which is sequences / available.
  nlohmann::json to_json() const;
  // Errors: not a ledger.
  static Ledger from_json(const nlohmann::json& json);
  // Errors: the ledger is of other languages; names both.
  void expect_languages(const std::vector<std::string>& languages) const;

 private:
  std::vector<std::string> languages_;
  std::vector<LanguageCounts> counts_;
  int64_t steps_ = 0;
};

// SHA-256 over the input tokens, targets and boundaries of steps [0, steps), in (step, slot) order: equal for
// every number of ranks because it never sees one.
std::string token_stream_sha256(const Loader& loader, int64_t steps);

}  // namespace fern
