#include "tokenizer/parity.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace fern {
namespace {

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

int64_t count_words(std::string_view text) {
  int64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    words += !space && !inside;
    inside = !space;
  }
  return words;
}

}  // namespace

double TextCost::parity() const { return ratio(tokens, english_tokens); }
double TextCost::fertility() const { return ratio(tokens, words); }

void add_pair(TextCost& cost, const Tokenizer& tokenizer, std::string_view text, std::string_view english) {
  ++cost.pairs;
  cost.tokens += static_cast<int64_t>(tokenizer.encode(text).size());
  cost.english_tokens += static_cast<int64_t>(tokenizer.encode(english).size());
  cost.words += count_words(text);
  cost.bytes += static_cast<int64_t>(text.size());
}

double worst_tenth(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto count = static_cast<int64_t>((values.size() + 9) / 10);
  std::partial_sort(values.begin(), values.begin() + count, values.end(), std::greater<>());
  return std::accumulate(values.begin(), values.begin() + count, 0.0) / static_cast<double>(count);
}

}  // namespace fern
