// What an equal-budget comparison found, as people and programs read it.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "launch/budget/arm_run.h"

namespace fern {

// Mean over seeds, and the sample standard deviation; 0 of one seed.
struct Spread {
  double mean = 0, deviation = 0;
};
Spread spread_of(std::span<const double> values);

// One arm over its seeds.
struct ArmSummary {
  std::string arm;
  int64_t seeds = 0, weights = 0, steps = 0, peak_bytes = 0, sent_bytes = 0;  // means
  double flops = 0, train_s = 0;
  Spread macro, worst_tenth;
  Spread against_first;  // macro minus the first arm's with the same seed
};
// In the order in which arms first come.
std::vector<ArmSummary> summarize(std::span<const ArmResult> results);

// A Markdown table under `title`.
std::string table_text(const std::string& title, std::span<const ArmSummary> arms);
nlohmann::ordered_json table_json(std::span<const ArmSummary> arms, std::span<const ArmResult> results);

}  // namespace fern
