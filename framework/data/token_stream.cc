#include "framework/data/token_stream.h"

#include <vector>

#include "framework/core/hash.h"

namespace fern {

SequenceDigest sequence_digest(const MicroBatch& batch, int64_t slot) {
  const auto begin = static_cast<size_t>(slot * batch.context), context = static_cast<size_t>(batch.context);
  Sha256 hash;
  hash.update(batch.input_T.data() + begin, context * sizeof(int32_t));
  hash.update(batch.target_T.data() + begin, context * sizeof(int32_t));
  for (size_t t = begin; t < begin + context; ++t) {
    const int32_t start = batch.document_start_T[t] - static_cast<int32_t>(begin);
    hash.update(&start, sizeof start);
  }
  const std::string hex = hash.hex();
  SequenceDigest digest{};
  for (size_t i = 0; i < digest.size(); ++i)
    digest[i] = static_cast<uint32_t>(std::stoul(hex.substr(8 * i, 8), nullptr, 16));
  return digest;
}

std::string extend_token_stream(const std::string& before, std::span<const double> words) {
  Sha256 hash;
  hash.update(before.data(), before.size());
  for (const double word : words) {
    const auto exact = static_cast<uint32_t>(word);
    hash.update(&exact, sizeof exact);
  }
  return hash.hex();
}

std::string token_stream_sha256(const Loader& loader, int64_t steps) {
  std::string stream;
  MicroBatch batch;
  for (int64_t step = 0; step < steps; ++step) {
    std::vector<double> words;
    for (int64_t micro = 0; micro < loader.micro_batches(); ++micro) {
      loader.load(batch, step, micro);
      for (int64_t slot = 0; slot < batch.sequences; ++slot)
        for (const uint32_t word : sequence_digest(batch, slot)) words.push_back(word);
    }
    stream = extend_token_stream(stream, words);
  }
  return stream;
}

}  // namespace fern
