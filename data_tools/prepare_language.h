// One language's shards.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data_tools/corpus.h"
#include "data_tools/templates.h"
#include "recipes/recipe.h"
#include "tokenizer/parity.h"
#include "tokenizer/tokenizer.h"

namespace fern {

struct SplitReport {
  int64_t documents = 0, sequences = 0, tokens = 0, loss_tokens = 0, bytes = 0, loss_bytes = 0;
  int64_t dropped = 0;  // examples longer than the context
};

// What was made of a language; empty `left_out` means that it takes part.
struct LanguageReport {
  std::string language, name, left_out;
  CorpusCounts counts;
  int64_t no_task = 0;  // segments that no task fits
  std::array<SplitReport, kSplits> splits;
  TextCost cost;
  std::vector<std::string> shards;  // paths below the folder

  nlohmann::json to_json() const;
  // REQUIRES what to_json() gave.
  static LanguageReport from_json(const std::string& language, const nlohmann::json& json);
};

// What all languages share. Borrowed. Shards are written one at a time: the HDF5 library is not safe for
// threads.
struct LanguageJob {
  const Tokenizer& tokenizer;
  const std::vector<Task>& tasks;
  DataKind kind;
  int64_t context;
  std::filesystem::path folder;
  std::mutex& writing;
};

// Writes folder/<split>/<language>.<source>.h5 for each split and source with documents, each whole or not at
// all. A language without a training document gets no shard, and the report says why. Errors: as ShardWriter.
LanguageReport prepare_language(const Corpus& corpus, const LanguageJob& job);

}  // namespace fern
