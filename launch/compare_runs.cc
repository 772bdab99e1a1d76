#include "launch/compare_runs.h"

#include <fmt/format.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/checkpoint/checkpoint.h"
#include "framework/core/error.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

std::map<int64_t, Json> read_metrics(const fs::path& run) {
  const fs::path file = run / "metrics.jsonl";
  std::ifstream in(file);
  if (!in) fail_usage("{}: cannot be read; expected the run folder of fern train", file.string());
  std::map<int64_t, Json> by_step;
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    Json metrics = Json::parse(line, nullptr, false);
    expect(metrics.is_object() && metrics.contains("step"), "{}:{}: expected a JSON object with a step",
           file.string(), number);
    const auto step = metrics.at("step").get<int64_t>();
    by_step.insert_or_assign(step, std::move(metrics));
  }
  return by_step;
}

std::map<int64_t, Manifest> read_checkpoints(const fs::path& run) {
  std::map<int64_t, Manifest> by_step;
  if (!fs::is_directory(run / "checkpoints")) return by_step;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints")) {
    if (!fs::exists(entry.path() / "manifest.json")) continue;
    Manifest manifest = read_manifest(entry.path());
    const int64_t step = manifest.step;
    by_step.insert_or_assign(step, std::move(manifest));
  }
  return by_step;
}

// "tokens_per_s", "step_s": what a clock says differs from run to run, and what a rank sends from layout to
// layout.
bool may_differ(const std::string& key) {
  return key.ends_with("_s") || key == "time" || key.ends_with("sent_bytes");
}

// Path of the first field that differs, with both values; "" when none does.
std::string difference(const Json& a, const Json& b, const std::string& path) {
  if (!a.is_object() || !b.is_object())
    return a == b ? "" : fmt::format("{}: {} against {}", path, a.dump(), b.dump());
  for (const Json* side : {&a, &b})
    for (const auto& [key, unused] : side->items()) {
      if (may_differ(key)) continue;
      const std::string inner = path.empty() ? key : path + "." + key;
      const std::string found = difference(a.value(key, Json()), b.value(key, Json()), inner);
      if (!found.empty()) return found;
    }
  return "";
}

std::string difference(const Manifest& a, const Manifest& b) {
  if (a.weights_hash != b.weights_hash)
    return fmt::format("checkpoint weights_hash: {} against {}", a.weights_hash, b.weights_hash);
  if (a.optimizer_hash != b.optimizer_hash)
    return fmt::format("checkpoint optimizer_hash: {} against {}", a.optimizer_hash, b.optimizer_hash);
  return "";
}

template <typename PerStep>
std::string difference_at(int64_t step, const PerStep& a, const PerStep& b) {
  const auto in_a = a.find(step), in_b = b.find(step);
  if (in_a == a.end() || in_b == b.end()) return "";
  if constexpr (std::is_same_v<typename PerStep::mapped_type, Json>)
    return difference(in_a->second, in_b->second, "");
  else
    return difference(in_a->second, in_b->second);
}

template <typename PerStep>
void add_steps(std::set<int64_t>& steps, const PerStep& by_step) {
  for (const auto& [step, unused] : by_step) steps.insert(step);
}

}  // namespace

Comparison compare_runs(const fs::path& a, const fs::path& b) {
  const auto metrics_a = read_metrics(a), metrics_b = read_metrics(b);
  const auto saved_a = read_checkpoints(a), saved_b = read_checkpoints(b);
  std::set<int64_t> steps;
  add_steps(steps, metrics_a);
  add_steps(steps, metrics_b);
  add_steps(steps, saved_a);
  int64_t checkpoints = 0;
  for (const int64_t step : steps) {
    if (metrics_a.contains(step) != metrics_b.contains(step))
      return {false,
              fmt::format("step {}: only {} has it", step, (metrics_a.contains(step) ? a : b).string())};
    std::string found = difference_at(step, metrics_a, metrics_b);
    if (found.empty()) found = difference_at(step, saved_a, saved_b);
    if (!found.empty()) return {false, fmt::format("step {}: {}", step, found)};
    checkpoints += saved_a.contains(step) && saved_b.contains(step);
  }
  return {true, fmt::format("equal: {} steps of metrics, {} checkpoints (weights and optimizer)",
                            metrics_a.size(), checkpoints)};
}

}  // namespace fern
