#include <fmt/ranges.h>

#include <cmath>

#include "framework/core/error.h"
#include "recipes/checks.h"

namespace fern {

namespace {

void data(const Recipe& recipe) {
  const DataConfig& d = recipe.data;
  if (d.folder.empty()) fail_usage("{}: data.folder: expected a path, got \"\"", recipe.where("data.folder"));
  if (d.kind == DataKind::kInstruct && d.templates.empty())
    fail_usage(
        "{}: data.templates is missing; data.kind = \"instruct\" makes its examples from templates, "
        "as in recipes/instruct/templates",
        recipe.where("data.kind"));
  if (d.max_segments > 0 && d.max_segments < d.min_segments)
    fail_usage(
        "{}: data.max_segments = {} is below data.min_segments = {}; expected at least that, or 0 for "
        "all",
        recipe.where("data.max_segments"), d.max_segments, d.min_segments);
}

void balance(const Recipe& recipe) {
  const BalanceRule& b = recipe.data.balance;
  const bool by_weights = b.kind == BalanceKind::kWeights;
  if (by_weights && b.weights.empty())
    fail_usage("{}: data.balance.weights is missing; the weights rule expects a table as {{am = 2, sw = 1}}",
               recipe.where("data.balance.rule"));
  if (!by_weights && !b.weights.empty())
    fail_usage(
        "{}: data.balance.weights is only for data.balance.rule = \"weights\"; leave it out, or choose "
        "that rule",
        recipe.where("data.balance.weights"));
  double sum = 0;
  for (const double weight : b.weights) sum += weight;
  if (by_weights && !(sum > 0))
    fail_usage("{}: data.balance.weights: expected at least one weight above 0",
               recipe.where("data.balance.weights"));
  if (std::isinf(sum))
    fail_usage("{}: data.balance.weights: expected weights with a finite sum, got {}",
               recipe.where("data.balance.weights"), fmt::join(b.weights, ", "));
}

}  // namespace

void check_data(const Recipe& recipe) {
  data(recipe);
  balance(recipe);
}

}  // namespace fern
