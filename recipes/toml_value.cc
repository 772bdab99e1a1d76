#include "recipes/toml_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "framework/core/error.h"
#include "recipes/suggest.h"

namespace fern {

namespace {

std::string type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a number with a fraction";
    case toml::node_type::boolean:
      return "true or false";
    default:
      return "a date or time";
  }
}

std::string spelled(const toml::node& node) {
  std::ostringstream out;
  out << toml::toml_formatter{
      node, toml::toml_formatter::default_flags & ~toml::format_flags::allow_literal_strings};
  return out.str();
}

// Reads one node for the place it goes to.
struct Reader {
  const Field& field;
  const toml::node& node;
  const std::string& where;

  [[noreturn]] void wrong_type() const {
    fail_usage("{}: {}: expected {}, got {} ({})", where, field.key, accepted(field), type_name(node),
               spelled(node));
  }
  void in_range(double number) const {
    if (!(number >= field.least && number <= field.most))
      fail_usage("{}: {}: expected {}, got {}", where, field.key, accepted(field), spelled(node));
  }
  std::string name() const {
    const auto text = node.value_exact<std::string>();
    if (!text) wrong_type();
    if (field.names.empty() || std::ranges::count(field.names, *text)) return *text;
    if (std::ranges::count(field.later, *text))
      fail_usage("{}: {}: \"{}\" comes later and is not available yet; expected {}", where, field.key, *text,
                 accepted(field));
    fail_usage("{}: {}: expected {}, got \"{}\"{}", where, field.key, accepted(field), *text,
               did_you_mean(*text, field.names));
  }

  Value operator()(int64_t*) const {
    const auto number = node.value_exact<int64_t>();
    if (!number) wrong_type();
    in_range(static_cast<double>(*number));
    return *number;
  }
  Value operator()(uint64_t*) const {
    return static_cast<uint64_t>(std::get<int64_t>((*this)(static_cast<int64_t*>(nullptr))));
  }
  Value operator()(double*) const {
    if (!node.is_number()) wrong_type();
    const double number = *node.value<double>();
    in_range(number);
    return number;
  }
  Value operator()(bool*) const {
    const auto truth = node.value_exact<bool>();
    if (!truth) wrong_type();
    return *truth;
  }
  Value operator()(std::string*) const { return name(); }
  Value operator()(const ChoicePlace&) const { return name(); }
  Value operator()(std::vector<std::string>*) const {
    const toml::array* array = node.as_array();
    if (!array) wrong_type();
    std::vector<std::string> list;
    for (const toml::node& item : *array) {
      const auto text = item.value_exact<std::string>();
      if (!text) wrong_type();
      list.push_back(*text);
    }
    return list;
  }
  Value operator()(const WeightsPlace&) const {
    const toml::table* table = node.as_table();
    if (!table) wrong_type();
    Weights weights;
    for (const auto& [language, weight] : *table) {
      if (!weight.is_number()) wrong_type();
      const double number = *weight.value<double>();
      in_range(number);
      weights.emplace_back(std::string(language.str()), number);
    }
    return weights;
  }
};

}  // namespace

Value read_value(const Field& field, const toml::node& node, const std::string& where) {
  Recipe scratch;
  return std::visit(Reader{field, node, where}, field.place(scratch));
}

}  // namespace fern
