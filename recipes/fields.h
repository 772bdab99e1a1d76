// The table of recipe keys. Reading, checking, writing and `fern help recipe` all come from it: a new key is
// one more row.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "recipes/recipe.h"

namespace fern {

// An enum member of a Recipe, seen as an index into Field::names.
struct ChoicePlace {
  std::function<int()> get;
  std::function<void(int)> set;
};

// A table of numbers, kept as two lists: data.balance.weights (language = weight), sparsity.layers (name =
// sparsity).
struct WeightsPlace {
  std::vector<std::string>* names;
  std::vector<double>* numbers;
};

// Where in a Recipe a key's value lives; which alternative it is says the key's type.
using Place = std::variant<int64_t*, uint64_t*, double*, bool*, std::string*, std::vector<std::string>*,
                           ChoicePlace, WeightsPlace>;

template <typename Enum>
Place choice(Enum& value) {
  return ChoicePlace{[&value] { return static_cast<int>(value); },
                     [&value](int index) { value = static_cast<Enum>(index); }};
}

// One key.
struct Field {
  std::string_view key{};  // "model.layers"
  Place (*place)(Recipe&) = nullptr;
  std::string_view meaning{};  // one or two sentences
  std::string_view unit{};     // "" when it has none
  std::string_view raising{};  // what a larger value does; "" for keys that are not quantities
  double least = 0;            // numbers
  double most = std::numeric_limits<double>::infinity();
  std::vector<std::string_view> names{};  // strings and choices: what is accepted; empty: anything
  std::vector<std::string_view> later{};  // names that are known and not available yet
  bool required = false;                  // there is no sensible default
  bool beside_file = false;               // a path relative to the recipe file that gives it
  bool may_change = false;                // a run may be continued under another value

  std::string_view section() const { return key.substr(0, key.rfind('.')); }
  std::string_view name() const { return key.substr(key.rfind('.') + 1); }
};

// Every key, section by section in the order of `fern help recipe`.
const std::vector<Field>& fields();
// The field of a full key, or null.
const Field* find_field(std::string_view key);
// Sections in order: "model", ..., "data", "data.balance", ...
std::vector<std::string_view> sections();

// A key's value, free of any Recipe. Choices are strings.
using Weights = std::vector<std::pair<std::string, double>>;
using Value = std::variant<int64_t, uint64_t, double, bool, std::string, std::vector<std::string>, Weights>;

Value value_of(const Field& field, const Recipe& recipe);
// REQUIRES: `value` is of the field's type, a choice one of its names.
void assign(const Field& field, Recipe& recipe, const Value& value);
// As TOML spells it.
std::string to_text(const Value& value);
// "an integer, 1 or more", "one of cosine, linear": what the field takes.
std::string accepted(const Field& field);

// The rows, by section; fields() joins them.
std::vector<Field> model_fields();     // [model] [tokenizer]
std::vector<Field> expert_fields();    // [model.experts]
std::vector<Field> sparsity_fields();  // [sparsity]
std::vector<Field> data_fields();      // [data] [data.balance]
std::vector<Field> training_fields();  // [batch] [optimizer] [train]
std::vector<Field> run_fields();       // [parallel] [checkpoint] [evaluate]

}  // namespace fern
