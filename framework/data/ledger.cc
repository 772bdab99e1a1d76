#include "framework/data/ledger.h"

#include <algorithm>
#include <functional>

#include "framework/core/error.h"
#include "framework/data/token_stream.h"

namespace fern {

namespace {

double epochs_of(const LanguageCounts& counts) {
  return counts.available == 0
             ? 0.0
             : static_cast<double>(counts.sequences) / static_cast<double>(counts.available);
}

nlohmann::json counts_to_json(const LanguageCounts& counts) {
  return {{"sequences", counts.sequences},     {"tokens", counts.tokens},
          {"loss_tokens", counts.loss_tokens}, {"bytes", counts.bytes},
          {"available", counts.available},     {"epochs", epochs_of(counts)}};
}

LanguageCounts counts_from_json(const nlohmann::json& json) {
  LanguageCounts counts{.sequences = json.at("sequences").get<int64_t>(),
                        .tokens = json.at("tokens").get<int64_t>(),
                        .loss_tokens = json.at("loss_tokens").get<int64_t>(),
                        .bytes = json.at("bytes").get<int64_t>(),
                        .available = json.at("available").get<int64_t>()};
  counts.epochs = epochs_of(counts);
  return counts;
}

}  // namespace

Ledger::Ledger(std::vector<std::string> languages)
    : languages_(std::move(languages)), counts_(languages_.size()) {
  const auto out_of_order = std::adjacent_find(languages_.begin(), languages_.end(), std::greater_equal<>());
  expect(out_of_order == languages_.end(),
         "[ledger] expected languages in the order of their codes, each once");
}

void Ledger::add(const std::vector<LanguageCounts>& counts, std::span<const double> digest_words) {
  expect(counts.size() == languages_.size(), "[ledger] expected counts of {} languages, got {}",
         languages_.size(), counts.size());
  for (size_t i = 0; i < counts.size(); ++i) {
    LanguageCounts& sum = counts_[i];
    expect(
        sum.available == 0 || sum.available == counts[i].available,
        "[ledger] language {}: expected {} sequences in its data, as before, got {}: the shards have changed",
        languages_[i], sum.available, counts[i].available);
    sum.sequences += counts[i].sequences;
    sum.tokens += counts[i].tokens;
    sum.loss_tokens += counts[i].loss_tokens;
    sum.bytes += counts[i].bytes;
    sum.available = counts[i].available;
    sum.epochs = epochs_of(sum);
  }
  token_stream_ = extend_token_stream(token_stream_, digest_words);
  ++steps_;
}

nlohmann::json Ledger::to_json() const {
  nlohmann::json languages = nlohmann::json::object();
  for (size_t i = 0; i < languages_.size(); ++i) languages[languages_[i]] = counts_to_json(counts_[i]);
  return {{"steps", steps_}, {"token_stream_sha256", token_stream_}, {"languages", languages}};
}

Ledger Ledger::from_json(const nlohmann::json& json) {
  try {
    Ledger ledger;
    ledger.steps_ = json.at("steps").get<int64_t>();
    ledger.token_stream_ = json.at("token_stream_sha256").get<std::string>();
    for (const auto& [language, counts] : json.at("languages").items()) {
      ledger.languages_.push_back(language);
      ledger.counts_.push_back(counts_from_json(counts));
    }
    return ledger;
  } catch (const nlohmann::json::exception& error) {
    fail("expected a ledger (\"steps\" and counts for each of \"languages\"): {}", error.what());
  }
}

void Ledger::expect_languages(const std::vector<std::string>& languages) const {
  expect(
      languages == languages_,
      "the ledger counts {} languages ({}), but the data has {} ({}): train on the data that this run began "
      "with, or begin a new run",
      languages_.size(), fmt::join(languages_, ", "), languages.size(), fmt::join(languages, ", "));
}

}  // namespace fern
