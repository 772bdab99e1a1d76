// One arm trained with one seed: by `fern train` and `fern evaluate`, as a user would, and what came of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace fern {

struct ArmRun {
  std::string arm;
  uint64_t seed = 1;
  std::filesystem::path recipe, folder;
  std::vector<std::string> overrides;  // seed and steps among them
  int ranks = 1;
};

struct ArmResult {
  std::string arm;
  uint64_t seed = 1;
  int ranks = 1;
  int64_t weights = 0;  // that exist at the end
  int64_t steps = 0;
  double flops = 0;                   // executed in training, on all ranks
  double train_s = 0;                 // of all steps
  int64_t peak_bytes = 0;             // resident set of the largest rank
  int64_t sent_bytes = 0;             // by the first rank, of gradients and values
  double macro = 0, worst_tenth = 0;  // bits per byte on held-out text
  double step_s() const { return train_s / static_cast<double>(steps); }
};

// Trains, evaluates, and leaves the result in FOLDER/result.json; what is there already is not done again.
// Errors (kFailed): a program failed, naming its log; (kStopped): `stop` came true, after it saved;
// (kBadUsage): FOLDER holds a run under another recipe, or the result of other ranks.
ArmResult complete(const ArmRun& run, const std::atomic<bool>& stop);

nlohmann::ordered_json to_json(const ArmResult& result);

}  // namespace fern
