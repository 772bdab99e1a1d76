#include "data_tools/tokenizer_text.h"

#include <algorithm>
#include <numeric>

#include "framework/core/hash.h"
#include "framework/core/rng.h"

namespace fern {
namespace {

// One weight per name, in the order of `names`.
std::vector<double> weights_for(const std::vector<std::string>& names, const BalanceRule& rule,
                                const std::vector<std::string>& weight_languages) {
  const double mean = std::accumulate(rule.weights.begin(), rule.weights.end(), 0.0) /
                      static_cast<double>(std::max<size_t>(rule.weights.size(), 1));
  std::vector<double> weights;
  for (const std::string& name : names) {
    const auto at = std::find(weight_languages.begin(), weight_languages.end(), name);
    const double own = at == weight_languages.end() ? 0 : rule.weights[at - weight_languages.begin()];
    weights.push_back(name == kEnglishSource ? mean : own);
  }
  return weights;
}

}  // namespace

void TextSizes::add(const Corpus& corpus) {
  int64_t total = 0;
  for (const CorpusSegment& segment : corpus.segments) {
    if (segment.split != Split::kTrain) continue;
    total += static_cast<int64_t>(segment.segment.text.size());
    const std::string& source = segment.segment.english;
    if (source.empty()) continue;
    int64_t& size = english[segment.key];
    size = std::max(size, static_cast<int64_t>(source.size()));
  }
  bytes[corpus.language] += total;
}

int64_t TextSizes::english_bytes() const {
  return std::accumulate(english.begin(), english.end(), int64_t{0},
                         [](int64_t sum, const auto& entry) { return sum + entry.second; });
}

std::map<std::string, double> tokenizer_budget(const TextSizes& sizes, const BalanceRule& rule,
                                               const std::vector<std::string>& weight_languages,
                                               int64_t total_bytes) {
  std::vector<std::string> names;
  std::vector<double> bytes;
  for (const auto& [language, size] : sizes.bytes) {
    names.push_back(language);
    bytes.push_back(static_cast<double>(size));
  }
  names.push_back(kEnglishSource);
  bytes.push_back(static_cast<double>(sizes.english_bytes()));
  BalanceRule named = rule;
  if (rule.kind == BalanceKind::kWeights) named.weights = weights_for(names, rule, weight_languages);
  const std::vector<double> shares = balance(named, bytes, static_cast<double>(total_bytes));
  std::map<std::string, double> budget;
  for (size_t i = 0; i < names.size(); ++i) {
    budget[names[i]] = std::min(shares[i] * static_cast<double>(total_bytes), rule.max_epochs * bytes[i]);
  }
  return budget;
}

std::vector<std::string> draw_text(const Corpus& corpus, double budget_bytes) {
  std::vector<const std::string*> texts;
  for (const CorpusSegment& segment : corpus.segments) {
    if (segment.split == Split::kTrain) texts.push_back(&segment.segment.text);
  }
  std::vector<std::string> drawn;
  double bytes = 0;
  for (uint64_t i = 0; !texts.empty() && bytes < budget_bytes; ++i) {
    const uint64_t place =
        permuted(i % texts.size(), texts.size(), 0, Purpose::kTokenizerText, xxh64(corpus.language));
    drawn.push_back(*texts[place]);
    bytes += static_cast<double>(drawn.back().size());
  }
  return drawn;
}

std::vector<std::pair<uint64_t, std::string>> draw_english(const Corpus& corpus, double share) {
  std::vector<std::pair<uint64_t, std::string>> drawn;
  for (const CorpusSegment& segment : corpus.segments) {
    if (segment.split != Split::kTrain || segment.segment.english.empty()) continue;
    if (random_uniform(0, Purpose::kTokenizerText, segment.key) < share)
      drawn.emplace_back(segment.key, segment.segment.english);
  }
  return drawn;
}

}  // namespace fern
