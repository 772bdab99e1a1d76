// Bits per byte for each language on a held-out split, beside what a unigram over tokens would need.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/data/loader.h"
#include "framework/model/transformer.h"

namespace fern {

// Sums over one language's documents. Only loss tokens and the original bytes they stand for count.
struct LanguageScore {
  std::string language;
  int64_t documents = 0, loss_tokens = 0, loss_bytes = 0;
  double nats = 0;          // negative log-likelihood under the model
  double unigram_nats = 0;  // under the unigram baseline
  double bits_per_byte() const;
  double unigram_bits_per_byte() const;
};

// How often each token is a target in training, per language: the baseline that knows the language and
// nothing else. p(t | l) = (count_l(t) + kPriorTokens * p(t)) / (count_l + kPriorTokens), p(t) the same over
// all languages with one added to each count (Dirichlet smoothing, Zhai and Lafferty 2004, section 3).
class UnigramBaseline {
 public:
  static constexpr double kPriorTokens = 500;
  UnigramBaseline(const std::vector<LanguageData>& training, int64_t vocabulary);
  // Nats of the loss tokens of a sequence. A language that training lacks has the prior alone.
  double nats(const std::string& language, const PackedSequence& sequence) const;

 private:
  std::vector<std::string> languages_;
  std::vector<std::vector<int32_t>> counts_;  // [language][token]
  std::vector<double> totals_;
  std::vector<double> prior_;
};

// Scores languages one by one in micro-batches of `micro_sequences`.
class Evaluator {
 public:
  // Takes activations for a micro-batch from `arena`. REQUIRES: model's parameters are loaded.
  Evaluator(Transformer& model, const UnigramBaseline& baseline, int64_t micro_sequences, Arena& arena);
  ~Evaluator();
  // At most `max_sequences` (0: all), evenly spread over the language's data.
  LanguageScore score(const LanguageData& language, int64_t max_sequences, Stream& stream);

 private:
  Transformer& model_;
  const UnigramBaseline& baseline_;
  int64_t micro_sequences_;
  std::unique_ptr<Transformer::Activations> activations_;
  MicroBatch batch_;
  std::vector<float> loss_T_;
};

// One figure for many languages. Averages over bits per byte, each language counted once but for micro.
struct ScoreSummary {
  double micro = 0;  // all nats over all bytes
  double macro = 0;
  double worst = 0;        // the highest
  double worst_tenth = 0;  // mean of the highest tenth (at least one)
  double gini = 0;         // 0: all languages alike (Gini 1912, mean absolute difference over twice the mean)
  double unigram_macro = 0;
  int64_t below_unigram = 0;  // languages whose bits per byte are below their baseline's
  int64_t languages = 0;
};
ScoreSummary summarize(std::span<const LanguageScore> scores);

}  // namespace fern
