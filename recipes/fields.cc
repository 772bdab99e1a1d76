#include "recipes/fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <toml++/toml.h>
#include <algorithm>
#include <cmath>
#include <sstream>

namespace fern {

namespace {

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

// TOML tells 1.0 from 1; fmt's shortest form does not.
std::string number_text(double value) {
  const std::string text = fmt::format("{}", value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

std::string quoted(const std::string& text) {
  std::ostringstream out;
  const toml::value<std::string> node(text);
  out << toml::toml_formatter{
      node, toml::toml_formatter::default_flags & ~toml::format_flags::allow_literal_strings};
  return out.str();
}

std::string range_text(const Field& field) {
  if (std::isinf(field.most)) return fmt::format(", {} or more", field.least);
  if (field.least == field.most) return fmt::format(": only {}", field.least);
  return fmt::format(", {} to {}", field.least, field.most);
}

std::string one_of(const Field& field) {
  return fmt::format("one of \"{}\"", fmt::join(field.names, "\", \""));
}

}  // namespace

const std::vector<Field>& fields() {
  static const std::vector<Field> all = [] {
    std::vector<Field> joined;
    for (auto part :
         {model_fields(), expert_fields(), sparsity_fields(), data_fields(), training_fields(), run_fields()})
      for (Field& field : part) joined.push_back(std::move(field));
    return joined;
  }();
  return all;
}

const Field* find_field(std::string_view key) {
  const auto found = std::ranges::find(fields(), key, &Field::key);
  return found == fields().end() ? nullptr : &*found;
}

std::vector<std::string_view> sections() {
  std::vector<std::string_view> all;
  for (const Field& field : fields())
    if (std::ranges::find(all, field.section()) == all.end()) all.push_back(field.section());
  return all;
}

Value value_of(const Field& field, const Recipe& recipe) {
  Recipe copy = recipe;
  return std::visit(Overloaded{[](auto* member) -> Value { return *member; },
                               [&](const ChoicePlace& place) -> Value {
                                 return std::string(field.names.at(static_cast<size_t>(place.get())));
                               },
                               [](const WeightsPlace& place) -> Value {
                                 Weights weights;
                                 for (size_t i = 0; i < place.names->size(); ++i)
                                   weights.emplace_back((*place.names)[i], (*place.numbers)[i]);
                                 return weights;
                               }},
                    field.place(copy));
}

void assign(const Field& field, Recipe& recipe, const Value& value) {
  std::visit(Overloaded{[&]<typename T>(T* member) { *member = std::get<T>(value); },
                        [&](const ChoicePlace& place) {
                          const auto found = std::ranges::find(field.names, std::get<std::string>(value));
                          place.set(static_cast<int>(found - field.names.begin()));
                        },
                        [&](const WeightsPlace& place) {
                          place.names->clear();
                          place.numbers->clear();
                          for (const auto& [language, weight] : std::get<Weights>(value)) {
                            place.names->push_back(language);
                            place.numbers->push_back(weight);
                          }
                        }},
             field.place(recipe));
}

std::string to_text(const Value& value) {
  return std::visit(
      Overloaded{[](const auto& plain) { return fmt::format("{}", plain); },
                 [](double number) { return number_text(number); },
                 [](const std::string& text) { return quoted(text); },
                 [](const std::vector<std::string>& list) {
                   std::vector<std::string> items;
                   for (const std::string& item : list) items.push_back(quoted(item));
                   return fmt::format("[{}]", fmt::join(items, ", "));
                 },
                 [](const Weights& weights) {
                   std::vector<std::string> items;
                   for (const auto& [language, weight] : weights)
                     items.push_back(fmt::format("{} = {}", quoted(language), number_text(weight)));
                   return fmt::format("{{{}}}", fmt::join(items, ", "));
                 }},
      value);
}

std::string accepted(const Field& field) {
  Recipe scratch;
  return std::visit(
      Overloaded{[&](int64_t*) { return "an integer" + range_text(field); },
                 [&](uint64_t*) { return "an integer" + range_text(field); },
                 [&](double*) { return "a number" + range_text(field); },
                 [](bool*) { return std::string("true or false"); },
                 [&](std::string*) { return field.names.empty() ? std::string("a string") : one_of(field); },
                 [](std::vector<std::string>*) { return std::string("a list of strings"); },
                 [&](const ChoicePlace&) { return one_of(field); },
                 [](const WeightsPlace&) { return std::string("a table name = number"); }},
      field.place(scratch));
}

}  // namespace fern
