#include "framework/data/loader.h"

#include <algorithm>
#include <cassert>

#include "framework/core/error.h"

namespace fern {

Loader::Loader(const std::vector<LanguageData>& languages, const Sampler& sampler, BatchShape shape,
               LossNormalization normalization)
    : languages_(languages), sampler_(sampler), shape_(shape), normalization_(normalization) {
  if (shape.sequences < 1 || shape.micro_sequences < 1 || shape.sequences % shape.micro_sequences != 0)
    fail_usage("[loader] expected batch.micro_sequences to divide batch.sequences, got {} and {}",
               shape.micro_sequences, shape.sequences);
  if (sampler.batch() != shape.sequences || sampler.shares().size() != languages.size())
    fail_usage("[loader] expected a sampler of {} sequences a step over {} languages, got {} and {}",
               shape.sequences, languages.size(), sampler.batch(), sampler.shares().size());
  for (const LanguageData& language : languages)
    for (const Shard& shard : language.shards())
      if (shard.header().context > shape.context)
        fail_usage("[loader] {}: holds sequences of up to {} tokens, but the context is {}",
                   shard.path().string(), shard.header().context, shape.context);
}

SequenceCounts Loader::counts_of(const Draw& draw) const {
  const LanguageData& language = languages_[static_cast<size_t>(draw.language)];
  const SequenceCounts counts = language.sequence_counts(draw.sequence);
  language.shard_of(draw.sequence).forget_pages();
  return counts;
}

Loader::StepTotals Loader::totals(int64_t step) const {
  const std::lock_guard lock(last_mutex_);
  if (step == last_step_) return last_totals_;
  StepTotals totals;
  for (int64_t slot = 0; slot < shape_.sequences; ++slot) {
    const SequenceCounts counts = counts_of(sampler_.draw(step, slot));
    totals.normalizer +=
        normalization_ == LossNormalization::kToken ? counts.loss_tokens : counts.loss_documents;
    totals.tokens += counts.tokens;
  }
  last_step_ = step;
  return last_totals_ = totals;
}

int64_t Loader::normalizer(int64_t step) const { return totals(step).normalizer; }

void Loader::load(MicroBatch& out, int64_t step, int64_t micro) const {
  assert(step >= 0 && micro >= 0 && micro < micro_batches());
  reset(out, shape_.micro_sequences, shape_.context);
  const StepTotals of_step = totals(step);
  out.batch_tokens = of_step.tokens;
  for (int64_t slot = 0; slot < shape_.micro_sequences; ++slot)
    load_sequence(out, slot, sampler_.draw(step, micro * shape_.micro_sequences + slot), of_step.normalizer);
}

void Loader::load_sequence(MicroBatch& out, int64_t slot, const Draw& draw, int64_t normalizer) const {
  const LanguageData& language = languages_[static_cast<size_t>(draw.language)];
  const Shard& shard = language.shard_of(draw.sequence);
  out.language_S[static_cast<size_t>(slot)] = draw.language;
  place_sequence(out, slot, language.sequence(draw.sequence), shard, [&](int64_t targets) {
    const int64_t share = normalization_ == LossNormalization::kToken ? normalizer : normalizer * targets;
    return static_cast<float>(1.0 / static_cast<double>(share));
  });
  shard.forget_pages();
}

std::vector<LanguageCounts> Loader::counts(int64_t step) const {
  std::vector<LanguageCounts> counts(languages_.size());
  for (size_t i = 0; i < counts.size(); ++i) counts[i].available = languages_[i].sequences();
  for (int64_t slot = 0; slot < shape_.sequences; ++slot) {
    const Draw draw = sampler_.draw(step, slot);
    const SequenceCounts sequence = counts_of(draw);
    LanguageCounts& language = counts[static_cast<size_t>(draw.language)];
    language.sequences += 1;
    language.tokens += sequence.tokens;
    language.loss_tokens += sequence.loss_tokens;
    language.bytes += sequence.bytes;
  }
  for (LanguageCounts& language : counts)
    language.epochs = static_cast<double>(language.sequences) / static_cast<double>(language.available);
  return counts;
}

}  // namespace fern
