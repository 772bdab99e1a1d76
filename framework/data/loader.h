// The loader turns draws into micro-batches the model takes. Pure in (step, micro-batch): every rank can ask
// for any. It keeps no mapped page of a shard from one sequence to the next, so a run's memory does not grow
// with the data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "framework/data/micro_batch.h"
#include "framework/data/sampler.h"
#include "framework/data/shard.h"

namespace fern {

// How the loss of a batch is averaged (FACTS of the field: "token" or "sequence"; a sequence is one
// document).
enum class LossNormalization { kToken, kSequence };

// Per-language counts of one batch or many. All exact.
struct LanguageCounts {
  int64_t sequences = 0, tokens = 0, loss_tokens = 0, bytes = 0;
  int64_t available = 0;  // sequences there are
  double epochs = 0;      // sequences / available
};

// One language's training data: its shards in path order, numbered through.
class LanguageData {
 public:
  LanguageData(std::string language, std::vector<Shard> shards);
  const std::string& language() const { return language_; }
  int64_t sequences() const { return first_sequence_.back(); }
  int64_t tokens() const;
  int64_t loss_tokens() const;
  int64_t bytes() const;
  // REQUIRES 0 <= index < sequences().
  PackedSequence sequence(int64_t index) const;
  SequenceCounts sequence_counts(int64_t index) const;
  const Shard& shard_of(int64_t index) const;  // the shard that holds the sequence
  const std::vector<Shard>& shards() const { return shards_; }

 private:
  // Which shard holds sequence `index`.
  size_t shard_number(int64_t index) const;

  std::string language_;
  std::vector<Shard> shards_;
  std::vector<int64_t> first_sequence_;
};

// All languages with shards of `split` under `folder` (files *.h5 below folder/split/), ordered by language
// code. Errors: no shard there ("run fern prepare"), one missing or more than prepare.json lists, one of
// another split, made with another tokenizer or with a larger context.
std::vector<LanguageData> open_languages(const std::filesystem::path& folder, const std::string& split,
                                         const std::string& tokenizer_sha256, int64_t context);

// Reads every `parts`-th shard, from number `part` on, against its hashes: processes that share a machine
// share the work. Errors: see Shard::verify().
void verify_shards(const std::vector<LanguageData>& languages, int64_t part, int64_t parts);

struct BatchShape {
  int64_t sequences = 0;        // of a step, all ranks together
  int64_t micro_sequences = 0;  // of a micro-batch; divides sequences
  int64_t context = 0;
};

class Loader {
 public:
  // Borrows both. Errors (kBadUsage): micro_sequences does not divide sequences, the sampler draws another
  // number of sequences or languages, a sequence does not fit the context.
  Loader(const std::vector<LanguageData>& languages, const Sampler& sampler, BatchShape shape,
         LossNormalization normalization);
  int64_t micro_batches() const { return shape_.sequences / shape_.micro_sequences; }
  // Fills `out` (its buffers are reused). Computed from the sampler alone: no rank needs another.
  // Over the micro-batches of a step, the weights sum to 1 (or to 0: no target at all).
  // REQUIRES 0 <= micro < micro_batches(). Errors: a token outside the vocabulary, naming its shard.
  void load(MicroBatch& out, int64_t step, int64_t micro) const;
  // Loss tokens (kToken) or documents with a target (kSequence) in the whole step's batch: what losses divide
  // by.
  int64_t normalizer(int64_t step) const;
  // Counts of one step's batch per language (for the ledger and for messages that name the languages of a
  // batch).
  std::vector<LanguageCounts> counts(int64_t step) const;
  const std::vector<LanguageData>& languages() const { return languages_; }
  const BatchShape& shape() const { return shape_; }

 private:
  // Of a whole step's batch.
  struct StepTotals {
    int64_t normalizer = 0, tokens = 0;
  };
  StepTotals totals(int64_t step) const;
  SequenceCounts counts_of(const Draw& draw) const;
  void load_sequence(MicroBatch& out, int64_t slot, const Draw& draw, int64_t normalizer) const;

  const std::vector<LanguageData>& languages_;
  const Sampler& sampler_;
  BatchShape shape_;
  LossNormalization normalization_;
  // The last step asked for and its totals: a step's micro-batches share them. Several threads may load.
  mutable std::mutex last_mutex_;
  mutable int64_t last_step_ = -1;
  mutable StepTotals last_totals_;
};

}  // namespace fern
