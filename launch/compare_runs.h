// Whether two runs computed the same, to the bit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace fern {

struct Comparison {
  bool equal = false;
  std::string text;  // what was compared, or the first step and field that differ
};

// Compares metrics.jsonl step by step, but for times, and the hashes of checkpoints that both have of the
// same step. A step logged twice (work repeated after a crash) counts as last logged. Errors: a folder
// without metrics.jsonl, a line that is not JSON, with its number.
Comparison compare_runs(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace fern
