// What evaluate, generate and export work on: the newest valid checkpoint of a run, or one checkpoint, in
// memory.
#pragma once

#include <filesystem>
#include <memory>

#include "framework/checkpoint/checkpoint.h"
#include "framework/core/arena.h"
#include "framework/model/transformer.h"
#include "tokenizer/tokenizer.h"

namespace fern {

// Whether checkpoints lie in the folder itself, as in one of `fern import`, `prune` or `densify`.
bool holds_checkpoints(const std::filesystem::path& folder);

// A checkpoint folder itself, or the newest valid one under RUN/checkpoints or in a folder of `fern import`,
// `prune` or `densify` (newer ones that were refused are named on standard error). Errors (kBadUsage):
// neither.
std::filesystem::path find_checkpoint(const std::filesystem::path& run_or_checkpoint);

// A verified model with the tokenizer it was trained with. Members are destroyed in an order that keeps
// borrowing safe.
struct LoadedModel {
  std::filesystem::path checkpoint;
  Manifest manifest;
  Arena arena;  // holds the parameters
  Transformer model;
  Tokenizer tokenizer;
};
std::unique_ptr<LoadedModel> load_model(const std::filesystem::path& run_or_checkpoint);

}  // namespace fern
