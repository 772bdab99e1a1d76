// What a language pays for its text under a tokenizer (Petrov et al. 2023, "Language model tokenizers
// introduce unfairness between languages", section 3: the tokenization premium).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace fern {

// Sums over texts that say the same in a language and in English.
struct TextCost {
  int64_t pairs = 0;
  int64_t tokens = 0, english_tokens = 0;
  int64_t words = 0;  // runs between white space, in the language
  int64_t bytes = 0;  // UTF-8, in the language

  // Tokens for each token of the English; 0 without a pair.
  double parity() const;
  // Tokens for each word. Means little for scripts that put no space between words.
  double fertility() const;
};

// Adds one pair. Errors: text that is not UTF-8.
void add_pair(TextCost& cost, const Tokenizer& tokenizer, std::string_view text, std::string_view english);

// Mean of the largest tenth of the values, rounded up to at least one; 0 of none.
double worst_tenth(std::vector<double> values);

}  // namespace fern
