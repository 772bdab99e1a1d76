#include "framework/data/loader.h"

#include <algorithm>
#include <cassert>

#include "framework/core/error.h"

namespace fern {

namespace {

// Makes `out` a batch of padding only.
void clear(MicroBatch& out, const BatchShape& shape) {
  const auto positions = static_cast<size_t>(shape.micro_sequences * shape.context);
  out.sequences = shape.micro_sequences;
  out.context = shape.context;
  out.input_T.assign(positions, 0);
  out.target_T.assign(positions, -1);
  out.document_start_T.resize(positions);
  for (size_t t = 0; t < positions; ++t) out.document_start_T[t] = static_cast<int32_t>(t);
  out.loss_weight_T.assign(positions, 0.0f);
  out.language_S.assign(static_cast<size_t>(shape.micro_sequences), 0);
  out.tokens = 0;
  out.loss_tokens = 0;
}

// A damaged token would read outside the embedding.
void expect_in_vocabulary(std::span<const int32_t> tokens, const Shard& shard) {
  const auto vocabulary = static_cast<uint32_t>(shard.header().vocabulary);
  for (const int32_t token : tokens)
    expect(
        static_cast<uint32_t>(token) < vocabulary,
        "{}: expected tokens in [0, {}), got {}: the file is damaged; remove it and run fern prepare again",
        shard.path().string(), vocabulary, token);
}

// Writes one document at positions from `start`; returns how many have a target.
int64_t place_document(MicroBatch& out, size_t start, std::span<const int32_t> tokens,
                       std::span<const uint8_t> loss) {
  int64_t targets = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    out.input_T[start + i] = tokens[i];
    out.document_start_T[start + i] = static_cast<int32_t>(start);
    if (i + 1 == tokens.size() || loss[i + 1] == 0) continue;
    out.target_T[start + i] = tokens[i + 1];
    ++targets;
  }
  return targets;
}

void weigh_document(MicroBatch& out, size_t start, size_t length, float weight) {
  for (size_t t = start; t < start + length; ++t)
    if (out.target_T[t] >= 0) out.loss_weight_T[t] = weight;
}

}  // namespace

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
  return languages_[static_cast<size_t>(draw.language)].sequence_counts(draw.sequence);
}

int64_t Loader::normalizer(int64_t step) const {
  const std::lock_guard lock(last_mutex_);
  if (step == last_step_) return last_normalizer_;
  int64_t sum = 0;
  for (int64_t slot = 0; slot < shape_.sequences; ++slot) {
    const SequenceCounts counts = counts_of(sampler_.draw(step, slot));
    sum += normalization_ == LossNormalization::kToken ? counts.loss_tokens : counts.loss_documents;
  }
  last_step_ = step;
  return last_normalizer_ = sum;
}

void Loader::load(MicroBatch& out, int64_t step, int64_t micro) const {
  assert(step >= 0 && micro >= 0 && micro < micro_batches());
  clear(out, shape_);
  const int64_t normalizer_of_step = normalizer(step);
  for (int64_t slot = 0; slot < shape_.micro_sequences; ++slot)
    load_sequence(out, slot, sampler_.draw(step, micro * shape_.micro_sequences + slot), normalizer_of_step);
}

void Loader::load_sequence(MicroBatch& out, int64_t slot, const Draw& draw, int64_t normalizer) const {
  const LanguageData& language = languages_[static_cast<size_t>(draw.language)];
  const PackedSequence packed = language.sequence(draw.sequence);
  expect_in_vocabulary(packed.tokens, language.shard_of(draw.sequence));
  out.language_S[static_cast<size_t>(slot)] = draw.language;
  out.tokens += static_cast<int64_t>(packed.tokens.size());
  const int64_t origin = packed.document_offsets.front();
  for (size_t d = 0; d + 1 < packed.document_offsets.size(); ++d) {
    const auto begin = static_cast<size_t>(packed.document_offsets[d] - origin),
               length = static_cast<size_t>(packed.document_offsets[d + 1] - origin) - begin;
    const size_t start = static_cast<size_t>(slot * shape_.context) + begin;
    const int64_t targets =
        place_document(out, start, packed.tokens.subspan(begin, length), packed.loss.subspan(begin, length));
    if (targets == 0) continue;
    const int64_t share = normalization_ == LossNormalization::kToken ? normalizer : normalizer * targets;
    weigh_document(out, start, length, static_cast<float>(1.0 / static_cast<double>(share)));
    out.loss_tokens += targets;
  }
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
