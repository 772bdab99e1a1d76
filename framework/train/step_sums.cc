#include "framework/train/step_sums.h"

#include <algorithm>
#include <limits>

#include "framework/data/token_stream.h"
#include "framework/optim/grad_norm.h"

namespace fern {

namespace {

constexpr int64_t kDigestWords = std::tuple_size_v<SequenceDigest>;

}  // namespace

StepSums::StepSums(int64_t micro_batches, int64_t micro_sequences, int64_t chunks, int64_t expert_layers,
                   int64_t shares)
    : micro_batches_(micro_batches),
      micro_sequences_(micro_sequences),
      sequences_(micro_batches * micro_sequences),
      chunks_(chunks),
      expert_layers_(expert_layers),
      shares_(shares),
      parts_(micro_batches * shares),
      all_(static_cast<size_t>(languages_begin() + (1 + kDigestWords) * sequences_ + chunks_)) {}

void StepSums::set_chunks(int64_t chunks) {
  all_.resize(all_.size() - static_cast<size_t>(chunks_) + static_cast<size_t>(chunks));
  chunks_ = chunks;
}

void StepSums::clear() { std::fill(all_.begin(), all_.end(), 0.0); }

std::span<double> StepSums::sequence_losses(int64_t micro, int64_t share) {
  const int64_t part = micro * shares_ + share;
  return std::span(all_).subspan(static_cast<size_t>(losses_end() + part * micro_sequences_),
                                 static_cast<size_t>(micro_sequences_));
}

void StepSums::add_routers(int64_t micro, std::span<const RouterLosses> losses, int64_t share) {
  double* slot = all_.data() + parts_ + 2 * (micro * shares_ + share) * expert_layers_;
  for (const RouterLosses& layer : losses) {
    *slot++ += layer.balance;
    *slot++ += layer.z;
  }
}

void StepSums::set_micro_batch(int64_t micro, double loss, const MicroBatch& whole, int64_t share) {
  all_[static_cast<size_t>(micro * shares_ + share)] = loss;
  if (share > 0) return;
  double* languages = all_.data() + languages_begin() + micro * micro_sequences_;
  for (int64_t s = 0; s < micro_sequences_; ++s) languages[s] = whole.language_S[static_cast<size_t>(s)];
  double* words = all_.data() + languages_begin() + sequences_ + micro * micro_sequences_ * kDigestWords;
  for (int64_t s = 0; s < micro_sequences_; ++s)
    for (const uint32_t word : sequence_digest(whole, s)) *words++ = word;
}

std::span<double> StepSums::squares() { return std::span(all_).last(static_cast<size_t>(chunks_)); }

std::span<const double> StepSums::part(int64_t begin, int64_t count) const {
  return std::span(all_).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
}

double StepSums::loss() const {
  double sum = 0;
  for (const double loss : part(0, parts_)) sum += loss;
  return sum;
}

RouterLosses StepSums::router_losses() const {
  RouterLosses sum;
  const double* slot = all_.data() + parts_;
  for (int64_t i = 0; i < parts_; ++i) {
    RouterLosses layers;
    for (int64_t layer = 0; layer < expert_layers_; ++layer) {
      layers.balance += *slot++;
      layers.z += *slot++;
    }
    sum.balance += layers.balance;
    sum.z += layers.z;
  }
  return sum;
}

std::span<const double> StepSums::digest_words() const {
  return part(languages_begin() + sequences_, kDigestWords * sequences_);
}

double StepSums::grad_norm() const {
  return norm_of(part(languages_begin() + (1 + kDigestWords) * sequences_, chunks_));
}

void StepSums::language_losses(std::vector<double>& losses, const std::vector<LanguageCounts>& counts) const {
  losses.assign(counts.size(), 0.0);
  const auto languages = part(languages_begin(), sequences_);
  const double* sum = all_.data() + losses_end();
  for (int64_t i = 0; i < parts_; ++i)
    for (int64_t s = 0; s < micro_sequences_; ++s) {
      const double language = languages[static_cast<size_t>(i / shares_ * micro_sequences_ + s)];
      losses[static_cast<size_t>(language)] += *sum++;
    }
  for (size_t l = 0; l < counts.size(); ++l)
    losses[l] = counts[l].loss_tokens > 0 ? losses[l] / static_cast<double>(counts[l].loss_tokens)
                                          : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace fern
