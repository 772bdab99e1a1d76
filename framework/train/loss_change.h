// How each language's loss changes over a topology update.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fern {

// Compares the mean of a language's losses over the last steps before an update with that over the first
// steps after it: up to kSteps each, and none beyond the updates before and after.
class LossChange {
 public:
  static constexpr size_t kSteps = 5;
  using Losses = std::map<std::string, double>;  // by language; those of the batch

  struct Report {
    int64_t update = 0;  // the step after which patterns changed
    Losses languages;    // after minus before, of languages seen in both
  };
  // Hears of each step in order; `updated`: patterns changed after it. Returns what is then known.
  std::optional<Report> add(int64_t step, const Losses& losses, bool updated);

 private:
  std::vector<Losses> recent_, before_;
  std::optional<int64_t> update_;  // whose steps after it are being gathered, in recent_
};

}  // namespace fern
