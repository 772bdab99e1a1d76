#include "framework/data/ledger.h"

#include <algorithm>
#include <functional>

#include "framework/core/error.h"
#include "framework/core/hash.h"

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

void Ledger::add(const std::vector<LanguageCounts>& counts) {
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
  ++steps_;
}

nlohmann::json Ledger::to_json() const {
  nlohmann::json languages = nlohmann::json::object();
  for (size_t i = 0; i < languages_.size(); ++i) languages[languages_[i]] = counts_to_json(counts_[i]);
  return {{"steps", steps_}, {"languages", languages}};
}

Ledger Ledger::from_json(const nlohmann::json& json) {
  try {
    Ledger ledger;
    ledger.steps_ = json.at("steps").get<int64_t>();
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

namespace {

// One sequence, its boundaries counted from its own first position: where it lies in a micro-batch must not
// show.
void update_with_sequence(Sha256& hash, const MicroBatch& batch, int64_t slot) {
  const auto begin = static_cast<size_t>(slot * batch.context), context = static_cast<size_t>(batch.context);
  std::vector<int32_t> starts;
  for (size_t t = begin; t < begin + context; ++t)
    starts.push_back(batch.document_start_T[t] - static_cast<int32_t>(begin));
  hash.update(batch.input_T.data() + begin, context * sizeof(int32_t));
  hash.update(batch.target_T.data() + begin, context * sizeof(int32_t));
  hash.update(starts.data(), context * sizeof(int32_t));
}

}  // namespace

std::string token_stream_sha256(const Loader& loader, int64_t steps) {
  Sha256 hash;
  MicroBatch batch;
  for (int64_t step = 0; step < steps; ++step)
    for (int64_t micro = 0; micro < loader.micro_batches(); ++micro) {
      loader.load(batch, step, micro);
      for (int64_t slot = 0; slot < batch.sequences; ++slot) update_with_sequence(hash, batch, slot);
    }
  return hash.hex();
}

}  // namespace fern
