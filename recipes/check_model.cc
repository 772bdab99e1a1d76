#include <fmt/ranges.h>

#include "framework/core/divisors.h"
#include "framework/core/error.h"
#include "recipes/checks.h"

namespace fern {

namespace {

void heads_divide_hidden(const Recipe& recipe) {
  const ModelConfig& m = recipe.model;
  std::vector<int64_t> heads;
  for (const int64_t d : divisors(m.hidden))
    if (m.hidden / d % 2 == 0) heads.push_back(d);
  if (m.hidden % 2 != 0)
    fail_usage("{}: model.hidden: expected an even number, got {}", recipe.where("model.hidden"), m.hidden);
  if (m.hidden % m.heads != 0)
    fail_usage("{}: model.heads = {} does not divide model.hidden = {}; one of {} would",
               recipe.where("model.heads"), m.heads, m.hidden, fmt::join(heads, ", "));
  if (m.head_size() % 2 != 0)
    fail_usage(
        "{}: model.heads = {} makes heads of {} values, and rotary positions need an even number; "
        "one of {} would do",
        recipe.where("model.heads"), m.heads, m.head_size(), fmt::join(heads, ", "));
}

void model(const Recipe& recipe) {
  const ModelConfig& m = recipe.model;
  if (m.head_dim == 0) heads_divide_hidden(recipe);
  if (m.head_dim % 2 != 0)
    fail_usage("{}: model.head_dim = {}: expected an even number, for rotary positions: {} or {}",
               recipe.where("model.head_dim"), m.head_dim, m.head_dim - 1, m.head_dim + 1);
  if (m.heads % m.kv_heads != 0)
    fail_usage("{}: model.kv_heads = {} does not divide model.heads = {}; one of {} would",
               recipe.where("model.kv_heads"), m.kv_heads, m.heads, fmt::join(divisors(m.heads), ", "));
}

void experts(const Recipe& recipe) {
  const ExpertConfig& e = recipe.model.experts;
  if (e.count == 0) return;
  if (e.active > e.count)
    fail_usage("{}: model.experts.active = {}: expected 1 to {} (model.experts.count)",
               recipe.where("model.experts.active"), e.active, e.count);
  if (e.active == 1 && e.router == RouterKind::kMixtral)
    fail_usage(
        "{}: model.experts.router = \"mixtral\" weighs a token's only expert with 1, so the router would "
        "never learn; set \"switch\", or model.experts.active to 2 or more",
        recipe.where("model.experts.active"));
  if (e.every > recipe.model.layers)
    fail_usage("{}: model.experts.every = {} leaves no layer with experts: expected 1 to {} (model.layers)",
               recipe.where("model.experts.every"), e.every, recipe.model.layers);
}

}  // namespace

void check_model(const Recipe& recipe) {
  model(recipe);
  experts(recipe);
}

}  // namespace fern
