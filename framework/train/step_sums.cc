#include "framework/train/step_sums.h"

#include <algorithm>
#include <limits>

#include "framework/data/token_stream.h"
#include "framework/optim/grad_norm.h"

namespace fern {

namespace {

constexpr int64_t kDigestWords = std::tuple_size_v<SequenceDigest>;
constexpr int64_t kLosses = 3;  // of a micro-batch

}  // namespace

StepSums::StepSums(int64_t micro_batches, int64_t micro_sequences, int64_t chunks)
    : micro_batches_(micro_batches),
      micro_sequences_(micro_sequences),
      sequences_(micro_batches * micro_sequences),
      chunks_(chunks),
      all_(static_cast<size_t>(kLosses * micro_batches_ + (2 + kDigestWords) * sequences_ + chunks_)) {}

void StepSums::set_chunks(int64_t chunks) {
  all_.resize(all_.size() - static_cast<size_t>(chunks_) + static_cast<size_t>(chunks));
  chunks_ = chunks;
}

void StepSums::clear() { std::fill(all_.begin(), all_.end(), 0.0); }

std::span<double> StepSums::sequence_losses(int64_t micro) {
  return std::span(all_).subspan(static_cast<size_t>(kLosses * micro_batches_ + micro * micro_sequences_),
                                 static_cast<size_t>(micro_sequences_));
}

void StepSums::set_micro_batch(int64_t micro, double loss, const RouterLosses& routers,
                               const MicroBatch& batch) {
  all_[static_cast<size_t>(micro)] = loss;
  all_[static_cast<size_t>(micro_batches_ + micro)] = routers.balance;
  all_[static_cast<size_t>(2 * micro_batches_ + micro)] = routers.z;
  double* languages = all_.data() + kLosses * micro_batches_ + sequences_ + micro * micro_sequences_;
  for (int64_t s = 0; s < micro_sequences_; ++s) languages[s] = batch.language_S[static_cast<size_t>(s)];
  double* words =
      all_.data() + kLosses * micro_batches_ + 2 * sequences_ + micro * micro_sequences_ * kDigestWords;
  for (int64_t s = 0; s < micro_sequences_; ++s)
    for (const uint32_t word : sequence_digest(batch, s)) *words++ = word;
}

std::span<double> StepSums::squares() { return std::span(all_).last(static_cast<size_t>(chunks_)); }

std::span<const double> StepSums::part(int64_t begin, int64_t count) const {
  return std::span(all_).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
}

double StepSums::sum_of_micro_batches(int64_t kind) const {
  double sum = 0;
  for (const double loss : part(kind * micro_batches_, micro_batches_)) sum += loss;
  return sum;
}

std::span<const double> StepSums::digest_words() const {
  return part(kLosses * micro_batches_ + 2 * sequences_, kDigestWords * sequences_);
}

double StepSums::grad_norm() const {
  return norm_of(part(kLosses * micro_batches_ + (2 + kDigestWords) * sequences_, chunks_));
}

void StepSums::language_losses(std::vector<double>& losses, const std::vector<LanguageCounts>& counts) const {
  losses.assign(counts.size(), 0.0);
  const auto sums = part(kLosses * micro_batches_, sequences_),
             languages = part(kLosses * micro_batches_ + sequences_, sequences_);
  for (size_t s = 0; s < sums.size(); ++s) losses[static_cast<size_t>(languages[s])] += sums[s];
  for (size_t l = 0; l < counts.size(); ++l)
    losses[l] = counts[l].loss_tokens > 0 ? losses[l] / static_cast<double>(counts[l].loss_tokens)
                                          : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace fern
