// The text that the tokenizer is trained on: the training split of every language and of English, drawn by
// the recipe's balance rule.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "data_tools/corpus.h"
#include "framework/data/balance.h"

namespace fern {

// What there is to draw from, gathered language by language.
struct TextSizes {
  std::map<std::string, int64_t> bytes;           // of training text, by language
  std::unordered_map<uint64_t, int64_t> english;  // bytes of each distinct English source string, by key

  // Adds a language's training split; the order of languages does not matter. Not safe from two threads at
  // once.
  void add(const Corpus& corpus);
  int64_t english_bytes() const;
};

// How many bytes to draw of each language, and of the English source strings under the name kEnglishSource.
// A rule with explicit weights gives the source strings their mean weight. No text is repeated more than
// rule.max_epochs times. Errors: as balance().
inline constexpr const char* kEnglishSource = "en (source strings)";
std::map<std::string, double> tokenizer_budget(const TextSizes& sizes, const BalanceRule& rule,
                                               const std::vector<std::string>& weight_languages,
                                               int64_t total_bytes);

// Training texts of the corpus in a keyed order, from the start again when there are too few, until they add
// up to the budget.
std::vector<std::string> draw_text(const Corpus& corpus, double budget_bytes);

// English source strings of the corpus's training split whose key falls below `share` of all; the same string
// of another corpus gives the same answer.
std::vector<std::pair<uint64_t, std::string>> draw_english(const Corpus& corpus, double share);

}  // namespace fern
