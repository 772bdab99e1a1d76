#include "recipes/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "framework/core/error.h"
#include "recipes/check.h"
#include "recipes/fields.h"
#include "recipes/toml_reader.h"

namespace fern {

std::string Recipe::where(std::string_view key) const {
  const auto found = places.find(key);
  return found == places.end() ? file.string() : found->second;
}

std::filesystem::path Recipe::templates_folder() const { return file.parent_path() / data.templates; }

std::string Recipe::name() const { return file.stem().string(); }

Recipe checked_recipe(const Settings& settings, const std::filesystem::path& file) {
  Recipe recipe;
  recipe.file = file;
  for (const auto& [key, setting] : settings) {
    assign(*find_field(key), recipe, setting.value);
    recipe.places.emplace(key, setting.where);
  }
  recipe.schedule.steps = recipe.train.steps;
  recipe.train.reduction_shards = recipe.batch.reduction_shards;
  check(recipe);
  return recipe;
}

Recipe read_recipe(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  return checked_recipe(read_settings(file, overrides), file);
}

std::string to_toml(const Recipe& recipe) {
  std::string text;
  for (const std::string_view section : sections()) {
    text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    for (const Field& field : fields()) {
      const Value value = value_of(field, recipe);
      const bool no_weights = std::holds_alternative<Weights>(value) && std::get<Weights>(value).empty();
      if (field.section() == section && !no_weights)
        text += fmt::format("{} = {}\n", field.name(), to_text(value));
    }
  }
  return text;
}

std::vector<std::string> changes_of_the_result(const Recipe& there, const Recipe& here) {
  std::vector<std::string> changes;
  for (const Field& field : fields()) {
    const Value before = value_of(field, there), after = value_of(field, here);
    if (!field.may_change && before != after)
      changes.push_back(
          fmt::format("{} is {} there and {} here", field.key, to_text(before), to_text(after)));
  }
  return changes;
}

BalanceRule balance_for(const DataConfig& data, const std::vector<std::string>& languages) {
  BalanceRule rule = data.balance;
  if (rule.kind != BalanceKind::kWeights) return rule;
  rule.weights.assign(languages.size(), 0);
  for (size_t i = 0; i < data.weight_languages.size(); ++i) {
    const auto found = std::find(languages.begin(), languages.end(), data.weight_languages[i]);
    if (found == languages.end())
      fail_usage("data.balance.weights: there is no data in \"{}\"; there is in {}", data.weight_languages[i],
                 fmt::join(languages, ", "));
    rule.weights[static_cast<size_t>(found - languages.begin())] = data.balance.weights[i];
  }
  return rule;
}

}  // namespace fern
