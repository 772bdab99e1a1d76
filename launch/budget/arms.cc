#include "launch/budget/arms.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>

#include "framework/core/error.h"
#include "launch/forecast.h"
#include "recipes/suggest.h"

namespace fern {

namespace {

constexpr std::array<std::string_view, 7> kArmNames = {"dense_small", "static",     "set",  "rigl",
                                                       "gradual",     "block_rigl", "dense"};

int64_t dense_weights(const ModelConfig& model) { return Transformer(model).parameters().elements(); }

// The feed-forward that brings a model of this width nearest to `weights`; 0 when it is too wide already.
int64_t nearest_ffn(ModelConfig model, int64_t weights) {
  constexpr int64_t kStep = 4;
  model.ffn = kStep;
  const int64_t least = dense_weights(model);
  const int64_t of_one = 3 * model.layers * model.hidden;
  if (least > weights) return 0;
  return kStep * (1 + (weights - least + kStep * of_one / 2) / (kStep * of_one));
}

// Inner widths of the feed-forwards that there are; shared experts have a multiple of one's.
std::vector<int64_t> ffn_widths(const ModelConfig& model) {
  std::vector<int64_t> widths;
  if (model.expert_layers() < model.layers) widths.push_back(model.ffn);
  if (model.expert_layers() > 0) widths.push_back(model.expert_ffn());
  return widths;
}

// The largest block of a power of two, up to the recipe's, that divides every matrix that may be sparse.
int64_t block_side(const Recipe& recipe, const ModelConfig& model) {
  int64_t sides = std::gcd(model.hidden, model.head_size() * model.kv_heads);
  for (const int64_t width : ffn_widths(model)) sides = std::gcd(sides, width);
  if (recipe.sparsity.embedding || recipe.sparsity.head) sides = std::gcd(sides, model.vocabulary);
  int64_t side = 1;
  while (2 * side <= recipe.sparsity.block && sides % (2 * side) == 0) side *= 2;
  if (side == 1)
    fail_usage(
        "block_rigl: expected blocks of 2 or more to divide hidden {}, ffn {}, {} columns of keys and, where "
        "the embedding or the head is sparse, the vocabulary {}, got none; change these sizes or leave the "
        "arm out",
        model.hidden, fmt::join(ffn_widths(model), " and "), model.head_size() * model.kv_heads,
        model.vocabulary);
  return side;
}

void expect_arm(const std::string& name) {
  if (std::ranges::count(kArmNames, std::string_view(name)) > 0) return;
  fail_usage("--arms: there is no arm \"{}\"{}; the arms are {}", name,
             did_you_mean(name, {kArmNames.begin(), kArmNames.end()}), fmt::join(kArmNames, ", "));
}

}  // namespace

std::span<const std::string_view> arm_names() { return kArmNames; }

int64_t budget_weights(const ModelConfig& model, const Recipe& recipe, double sparsity) {
  Recipe still = recipe;
  still.sparsity.method = SparsityMethod::kStatic;
  still.sparsity.sparsity = sparsity;
  return initial_elements(model, still);
}

ModelConfig smaller_dense(const ModelConfig& model, int64_t weights) {
  if (model.experts.count > 0)
    fail_usage(
        "dense_small: expected a recipe without experts, got model.experts.count = {}; leave the arm out",
        model.experts.count);
  const auto ratio = [](const ModelConfig& m) {
    return std::log(static_cast<double>(m.ffn) / static_cast<double>(m.hidden));
  };
  std::optional<ModelConfig> best;
  for (int64_t hidden = 2 * model.heads; hidden <= model.hidden; hidden += 2 * model.heads) {
    ModelConfig small = model;
    small.hidden = hidden;
    small.ffn = nearest_ffn(small, weights);
    if (small.ffn == 0) break;
    const auto off = static_cast<double>(dense_weights(small) - weights) / static_cast<double>(weights);
    if (std::abs(off) > kBudgetTolerance) continue;
    if (!best || std::abs(ratio(small) - ratio(model)) < std::abs(ratio(*best) - ratio(model))) best = small;
  }
  if (!best)
    fail_usage(
        "dense_small: expected a dense model of {} weights within {:.0f} %, got none with {} heads; change "
        "model.heads or --sparsity",
        weights, 100 * kBudgetTolerance, model.heads);
  return *best;
}

std::vector<Arm> make_arms(const std::vector<std::string>& names, const Recipe& recipe,
                           const ModelConfig& model, double sparsity) {
  std::vector<Arm> arms;
  for (const std::string& name : names) {
    expect_arm(name);
    if (std::ranges::count(arms, name, &Arm::name) > 0)
      fail_usage("--arms: expected each arm once, got \"{}\" again; --seeds N trains it more than once",
                 name);
    Arm& arm = arms.emplace_back(Arm{name, {}});
    if (name == "dense" || name == "dense_small") {
      arm.overrides = {"sparsity.method=dense"};
      if (name == "dense") continue;
      const ModelConfig small = smaller_dense(model, budget_weights(model, recipe, sparsity));
      arm.overrides.push_back(fmt::format("model.hidden={}", small.hidden));
      arm.overrides.push_back(fmt::format("model.ffn={}", small.ffn));
      continue;
    }
    const bool blocks = name == "block_rigl";
    arm.overrides = {fmt::format("sparsity.method={}", blocks ? "rigl" : name),
                     fmt::format("sparsity.sparsity={}", sparsity)};
    if (!blocks) continue;
    arm.overrides.emplace_back("sparsity.pattern=block");
    arm.overrides.push_back(fmt::format("sparsity.block={}", block_side(recipe, model)));
  }
  return arms;
}

}  // namespace fern
