#include "launch/budget/equal_time.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "framework/core/error.h"
#include "framework/core/files.h"

namespace fern {

namespace {

struct Decision {
  std::string first;
  double train_s = 0;
  std::map<std::string, int64_t> steps;
};

Decision read_decision(const std::filesystem::path& file) {
  std::ifstream in(file);
  try {
    const auto json = nlohmann::json::parse(in);
    return {json.at("first"), json.at("train_s"), json.at("steps")};
  } catch (const nlohmann::json::exception& error) {
    fail("{}: expected the steps of each arm ({}); remove the folder it is in and run again", file.string(),
         error.what());
  }
}

}  // namespace

std::map<std::string, int64_t> equal_time_steps(const std::filesystem::path& kept,
                                                std::span<const ArmSummary> arms) {
  Decision decision{arms.front().arm, arms.front().train_s, {}};
  if (std::filesystem::exists(kept)) decision = read_decision(kept);
  if (decision.first != arms.front().arm)
    fail_usage(
        "{}: its runs take the time of arm {}, and --arms names {} first; name another folder with --out",
        kept.parent_path().string(), decision.first, arms.front().arm);
  for (const ArmSummary& arm : arms) {
    const double step_s = arm.train_s / static_cast<double>(arm.steps);
    decision.steps.try_emplace(arm.arm, std::max<int64_t>(1, std::llround(decision.train_s / step_s)));
  }
  const nlohmann::ordered_json json = {
      {"first", decision.first}, {"train_s", decision.train_s}, {"steps", decision.steps}};
  create_folders(kept.parent_path());
  write_text_durably(kept, json.dump(2) + "\n");
  return decision.steps;
}

std::vector<std::string> stretched(const Recipe& recipe, int64_t steps) {
  std::vector<std::string> settings = {fmt::format("train.steps={}", steps)};
  if (steps == recipe.train.steps) return settings;
  const auto scaled = [&](int64_t count) { return count * steps / recipe.train.steps; };
  const Schedule& schedule = recipe.schedule;
  if (schedule.warmup_steps > 0)
    settings.push_back(fmt::format("optimizer.warmup_steps={}", scaled(schedule.warmup_steps)));
  if (schedule.decay_steps > 0)
    settings.push_back(
        fmt::format("optimizer.decay_steps={}", std::max<int64_t>(1, scaled(schedule.decay_steps))));
  if (recipe.sparsity.method == SparsityMethod::kDense) return settings;
  const int64_t interval = std::max<int64_t>(1, scaled(recipe.sparsity.interval));
  settings.push_back(fmt::format("sparsity.interval={}", interval));
  settings.push_back(
      fmt::format("sparsity.scoring_steps={}", std::min(recipe.sparsity.scoring_steps, interval)));
  return settings;
}

}  // namespace fern
