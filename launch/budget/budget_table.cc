#include "launch/budget/budget_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "launch/text.h"

namespace fern {

namespace {

using Json = nlohmann::ordered_json;

template <typename Value>
std::vector<double> values_of(std::span<const ArmResult> results, Value ArmResult::*member) {
  std::vector<double> values;
  for (const ArmResult& result : results) values.push_back(static_cast<double>(result.*member));
  return values;
}

template <typename Value>
double mean_of(std::span<const ArmResult> results, Value ArmResult::*member) {
  return spread_of(values_of(results, member)).mean;
}

int64_t rounded(double value) { return std::llround(value); }

ArmSummary summary_of(std::span<const ArmResult> seeds, std::span<const ArmResult> first) {
  std::vector<double> differences;
  for (const ArmResult& result : seeds)
    for (const ArmResult& other : first)
      if (other.seed == result.seed) differences.push_back(result.macro - other.macro);
  return {.arm = seeds.front().arm,
          .seeds = static_cast<int64_t>(seeds.size()),
          .weights = rounded(mean_of(seeds, &ArmResult::weights)),
          .steps = rounded(mean_of(seeds, &ArmResult::steps)),
          .peak_bytes = rounded(mean_of(seeds, &ArmResult::peak_bytes)),
          .sent_bytes = rounded(mean_of(seeds, &ArmResult::sent_bytes)),
          .flops = mean_of(seeds, &ArmResult::flops),
          .train_s = mean_of(seeds, &ArmResult::train_s),
          .macro = spread_of(values_of(seeds, &ArmResult::macro)),
          .worst_tenth = spread_of(values_of(seeds, &ArmResult::worst_tenth)),
          .against_first = spread_of(differences)};
}

std::string text_of(const Spread& spread) {
  return fmt::format("{:.3f} ± {:.3f}", spread.mean, spread.deviation);
}

Json to_json(const Spread& spread) { return {{"mean", spread.mean}, {"deviation", spread.deviation}}; }

}  // namespace

Spread spread_of(std::span<const double> values) {
  if (values.empty()) return {};
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, values.size() > 1 ? std::sqrt(squares / (count - 1)) : 0.0};
}

std::vector<ArmSummary> summarize(std::span<const ArmResult> results) {
  std::vector<std::vector<ArmResult>> by_arm;
  for (const ArmResult& result : results) {
    const auto same = std::ranges::find_if(
        by_arm, [&](const std::vector<ArmResult>& arm) { return arm.front().arm == result.arm; });
    if (same == by_arm.end())
      by_arm.push_back({result});
    else
      same->push_back(result);
  }
  std::vector<ArmSummary> arms;
  for (const std::vector<ArmResult>& arm : by_arm) arms.push_back(summary_of(arm, by_arm.front()));
  return arms;
}

std::string table_text(const std::string& title, std::span<const ArmSummary> arms) {
  std::string text = fmt::format("{}\n\n", title);
  text += fmt::format(
      "| {:<11} | {:>9} | {:>6} | {:>10} | {:>10} | {:>9} | {:>9} | {:>13} | {:>13} | {:>15} |\n", "arm",
      "weights", "steps", "FLOP", "training", "peak", "sent", "macro", "worst tenth", "macro - first");
  text += "|---|---|---|---|---|---|---|---|---|---|\n";
  for (const ArmSummary& arm : arms)
    text += fmt::format(
        "| {:<11} | {:>9} | {:>6} | {:>10.3e} | {:>8.1f} s | {:>9} | {:>9} | {:>13} | {:>13} | {:>15} |\n",
        arm.arm, count_text(static_cast<double>(arm.weights)), arm.steps, arm.flops, arm.train_s,
        bytes_text(static_cast<double>(arm.peak_bytes)), bytes_text(static_cast<double>(arm.sent_bytes)),
        text_of(arm.macro), text_of(arm.worst_tenth),
        &arm == &arms.front() ? "" : text_of(arm.against_first));
  return text;
}

Json table_json(std::span<const ArmSummary> arms, std::span<const ArmResult> results) {
  Json summaries = Json::array(), runs = Json::array();
  for (const ArmSummary& arm : arms)
    summaries.push_back({{"arm", arm.arm},
                         {"seeds", arm.seeds},
                         {"weights", arm.weights},
                         {"steps", arm.steps},
                         {"flops", arm.flops},
                         {"train_s", arm.train_s},
                         {"peak_bytes", arm.peak_bytes},
                         {"sent_bytes", arm.sent_bytes},
                         {"macro", to_json(arm.macro)},
                         {"worst_tenth", to_json(arm.worst_tenth)},
                         {"macro_against_first", to_json(arm.against_first)}});
  for (const ArmResult& result : results) runs.push_back(to_json(result));
  return {{"arms", summaries}, {"runs", runs}};
}

}  // namespace fern
