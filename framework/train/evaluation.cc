#include "framework/train/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "framework/core/error.h"

namespace fern {

namespace {

double bits_per_byte_of(double nats, int64_t bytes) {
  return bytes == 0 ? 0.0 : nats / (std::numbers::ln2 * static_cast<double>(bytes));
}

}  // namespace

double LanguageScore::bits_per_byte() const { return bits_per_byte_of(nats, loss_bytes); }
double LanguageScore::unigram_bits_per_byte() const { return bits_per_byte_of(unigram_nats, loss_bytes); }

UnigramBaseline::UnigramBaseline(const std::vector<LanguageData>& training, int64_t vocabulary)
    : prior_(static_cast<size_t>(vocabulary), 1.0) {
  for (const LanguageData& data : training) {
    std::vector<int32_t> counts(prior_.size(), 0);
    for (int64_t i = 0; i < data.sequences(); ++i) {
      const PackedSequence sequence = data.sequence(i);
      for (size_t t = 0; t < sequence.tokens.size(); ++t)
        if (sequence.loss[t]) ++counts[static_cast<size_t>(sequence.tokens[t])];
    }
    for (size_t t = 0; t < counts.size(); ++t) prior_[t] += counts[t];
    totals_.push_back(std::accumulate(counts.begin(), counts.end(), 0.0));
    languages_.push_back(data.language());
    counts_.push_back(std::move(counts));
  }
  const double total = std::accumulate(prior_.begin(), prior_.end(), 0.0);
  for (double& p : prior_) p /= total;
}

double UnigramBaseline::nats(const std::string& language, const PackedSequence& sequence) const {
  const auto found = std::find(languages_.begin(), languages_.end(), language);
  const size_t l = static_cast<size_t>(found - languages_.begin());
  const bool known = found != languages_.end();
  double sum = 0;
  for (size_t t = 0; t < sequence.tokens.size(); ++t) {
    if (!sequence.loss[t]) continue;
    const size_t token = static_cast<size_t>(sequence.tokens[t]);
    const double count = known ? counts_[l][token] : 0, total = known ? totals_[l] : 0;
    sum -= std::log((count + kPriorTokens * prior_[token]) / (total + kPriorTokens));
  }
  return sum;
}

Evaluator::Evaluator(Transformer& model, const UnigramBaseline& baseline, int64_t micro_sequences,
                     Arena& arena)
    : model_(model),
      baseline_(baseline),
      micro_sequences_(micro_sequences),
      activations_(model.allocate_activations(arena, micro_sequences * model.config().context)),
      loss_T_(static_cast<size_t>(micro_sequences * model.config().context)) {}

Evaluator::~Evaluator() = default;

LanguageScore Evaluator::score(const LanguageData& language, int64_t max_sequences, Stream& stream) {
  LanguageScore score;
  score.language = language.language();
  const int64_t all = language.sequences();
  const int64_t count = max_sequences > 0 ? std::min(max_sequences, all) : all;
  for (int64_t begin = 0; begin < count; begin += micro_sequences_) {
    std::vector<PackedSequence> sequences;
    reset(batch_, micro_sequences_, model_.config().context);
    for (int64_t i = begin; i < std::min(begin + micro_sequences_, count); ++i) {
      const int64_t index = i * all / count;
      sequences.push_back(language.sequence(index));
      place_sequence(batch_, i - begin, sequences.back(), language.shard_of(index),
                     [](int64_t) { return 1.0f; });
    }
    model_.score(loss_T_, *activations_, batch_, stream);
    score.nats += std::accumulate(loss_T_.begin(), loss_T_.end(), 0.0);
    for (const PackedSequence& sequence : sequences) {
      score.unigram_nats += baseline_.nats(score.language, sequence);
      score.documents += static_cast<int64_t>(sequence.document_loss_bytes.size());
      score.loss_tokens += std::accumulate(sequence.loss.begin(), sequence.loss.end(), int64_t{0});
      score.loss_bytes += std::accumulate(sequence.document_loss_bytes.begin(),
                                          sequence.document_loss_bytes.end(), int64_t{0});
    }
  }
  return score;
}

ScoreSummary summarize(std::span<const LanguageScore> scores) {
  ScoreSummary summary;
  std::vector<double> bits;
  double nats = 0;
  int64_t bytes = 0;
  for (const LanguageScore& score : scores) {
    if (score.loss_bytes == 0) continue;
    bits.push_back(score.bits_per_byte());
    nats += score.nats;
    bytes += score.loss_bytes;
    summary.unigram_macro += score.unigram_bits_per_byte();
    summary.below_unigram += score.bits_per_byte() < score.unigram_bits_per_byte();
  }
  if (bits.empty()) return summary;
  std::sort(bits.begin(), bits.end());
  const size_t n = bits.size(), tenth = std::max<size_t>(1, n / 10);
  const double count = static_cast<double>(n), total = std::accumulate(bits.begin(), bits.end(), 0.0);
  summary.languages = static_cast<int64_t>(n);
  summary.unigram_macro /= count;
  summary.micro = bits_per_byte_of(nats, bytes);
  summary.macro = total / count;
  summary.worst = bits.back();
  summary.worst_tenth = std::accumulate(bits.end() - static_cast<std::ptrdiff_t>(tenth), bits.end(), 0.0) /
                        static_cast<double>(tenth);
  double weighted = 0;  // of sorted values: Gini = sum (2i - n - 1) x_i / (n sum x), i from 1
  for (size_t i = 0; i < n; ++i) weighted += (2.0 * static_cast<double>(i + 1) - count - 1.0) * bits[i];
  summary.gini = weighted / (count * total);
  return summary;
}

}  // namespace fern
