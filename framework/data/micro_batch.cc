#include "framework/data/micro_batch.h"

#include "framework/core/error.h"

namespace fern {

namespace {

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

void reset(MicroBatch& out, int64_t sequences, int64_t context) {
  const auto positions = static_cast<size_t>(sequences * context);
  out.sequences = sequences;
  out.context = context;
  out.input_T.assign(positions, 0);
  out.target_T.assign(positions, -1);
  out.document_start_T.resize(positions);
  for (size_t t = 0; t < positions; ++t) out.document_start_T[t] = static_cast<int32_t>(t);
  out.loss_weight_T.assign(positions, 0.0f);
  out.language_S.assign(static_cast<size_t>(sequences), 0);
  out.length_S.assign(static_cast<size_t>(sequences), 0);
  out.tokens = 0;
  out.loss_tokens = 0;
  out.batch_tokens = 0;
}

void place_sequence(MicroBatch& out, int64_t slot, const PackedSequence& packed, const Shard& shard,
                    const std::function<float(int64_t targets)>& weight_of) {
  expect_in_vocabulary(packed.tokens, shard);
  out.tokens += static_cast<int64_t>(packed.tokens.size());
  out.length_S[static_cast<size_t>(slot)] = static_cast<int32_t>(packed.tokens.size());
  const int64_t origin = packed.document_offsets.front();
  for (size_t d = 0; d + 1 < packed.document_offsets.size(); ++d) {
    const auto begin = static_cast<size_t>(packed.document_offsets[d] - origin),
               length = static_cast<size_t>(packed.document_offsets[d + 1] - origin) - begin;
    const size_t start = static_cast<size_t>(slot * out.context) + begin;
    const int64_t targets =
        place_document(out, start, packed.tokens.subspan(begin, length), packed.loss.subspan(begin, length));
    if (targets == 0) continue;
    weigh_document(out, start, length, weight_of(targets));
    out.loss_tokens += targets;
  }
}

}  // namespace fern
