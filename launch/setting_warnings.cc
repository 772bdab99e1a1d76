#include "launch/setting_warnings.h"

#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "launch/loaded_model.h"
#include "recipes/doubts.h"
#include "recipes/fields.h"

namespace fern {

namespace {

// Keys that say how many weights exist and were chosen, with their places. The recipe in a run folder sets
// all keys, most of them to their defaults.
std::vector<std::string> budget_keys(const Recipe& recipe) {
  std::vector<std::string> keys;
  for (const std::string_view key : {"sparsity.sparsity", "sparsity.layers", "sparsity.distribution"})
    if (const Field& field = *find_field(key); value_of(field, recipe) != value_of(field, Recipe()))
      keys.push_back(fmt::format("{} ({})", key, recipe.where(key)));
  return keys;
}

void warn_of_unused_budget(const Recipe& recipe) {
  const bool by_topology = !recipe.topology.empty();
  const std::string& source = by_topology ? recipe.topology : recipe.weights;
  const std::vector<std::string> keys = budget_keys(recipe);
  if (recipe.sparsity.method == SparsityMethod::kDense || source.empty() || keys.empty()) return;
  const std::filesystem::path checkpoint = find_checkpoint(source);
  if (read_manifest(checkpoint).topology_hash.empty()) return;
  spdlog::warn("{}: not used, since which weights exist comes from {} ({}); leave out what does not count",
               fmt::join(keys, ", "), checkpoint.string(),
               by_topology ? "sparsity.topology" : "model.weights");
}

}  // namespace

void warn_of_settings(const Recipe& recipe, bool begins) {
  for (const std::string& doubt : doubts(recipe)) spdlog::warn("{}", doubt);
  if (begins) warn_of_unused_budget(recipe);
}

}  // namespace fern
