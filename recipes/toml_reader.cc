#include "recipes/toml_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <toml++/toml.h>
#include <algorithm>

#include "framework/core/error.h"
#include "recipes/suggest.h"
#include "recipes/toml_value.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

bool is_section(std::string_view name) { return std::ranges::count(sections(), name) > 0; }

std::vector<std::string_view> names_in(std::string_view section) {
  std::vector<std::string_view> names;
  for (const Field& field : fields())
    if (field.section() == section) names.push_back(field.name());
  for (const std::string_view other : sections())
    if (other.starts_with(section) && other.size() > section.size() && other[section.size()] == '.')
      names.push_back(other.substr(section.size() + 1));
  return names;
}

std::vector<std::string_view> top_names() {
  std::vector<std::string_view> names = {"extends"};
  for (const std::string_view section : sections())
    if (section.find('.') == std::string_view::npos) names.push_back(section);
  return names;
}

[[noreturn]] void unknown_key(const std::string& section, std::string_view name, const std::string& where) {
  if (section.empty())
    fail_usage("{}: unknown section [{}]{}; a recipe takes {}", where, name, did_you_mean(name, top_names()),
               fmt::join(top_names(), ", "));
  std::string hint = did_you_mean(name, names_in(section));
  for (const Field& field : fields())
    if (hint.empty() && field.name() == name) hint = fmt::format(" (did you mean \"{}\"?)", field.key);
  fail_usage("{}: unknown key {}.{}{}; [{}] takes {}", where, section, name, hint, section,
             fmt::join(names_in(section), ", "));
}

// A table's settings, from a file or an override. `where` tells the place of a line.
struct Collector {
  Settings& settings;
  fs::path folder;  // that paths beside the recipe are relative to
  std::function<std::string(const toml::source_region&)> where;

  void collect(const toml::table& table, const std::string& section) {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      const std::string path = section.empty() ? name : section + "." + name;
      const std::string place = where(key.source());
      if (path == "extends") continue;
      if (const Field* field = find_field(path))
        store(*field, node, place);
      else if (!is_section(path))
        unknown_key(section, name, place);
      else if (node.is_table())
        collect(*node.as_table(), path);
      else
        fail_usage("{}: expected a section [{}] with keys {}, got a value", place, path,
                   fmt::join(names_in(path), ", "));
    }
  }

  void store(const Field& field, const toml::node& node, const std::string& place) {
    Value value = read_value(field, node, place);
    if (field.beside_file && !std::get<std::string>(value).empty())
      value = (fs::current_path() / folder / std::get<std::string>(value)).lexically_normal().string();
    settings[std::string(field.key)] = {std::move(value), place};
  }
};

toml::table parse_file(const fs::path& file) {
  if (!fs::is_regular_file(file))
    fail_usage("{}: no such recipe file; recipes/ has some to start from", file.string());
  try {
    return toml::parse_file(file.string());
  } catch (const toml::parse_error& error) {
    fail_usage("{}:{}: not TOML: {}", file.string(), error.source().begin.line, error.description());
  }
}

void collect_file(Settings& settings, const fs::path& file, const toml::table& table) {
  Collector{settings, file.parent_path(),
            [&](const toml::source_region& source) {
              return fmt::format("{}:{}", file.string(), source.begin.line);
            }}
      .collect(table, "");
}

// `chain` holds the files being read, outermost first.
void read_file(Settings& settings, const fs::path& file, std::vector<std::string> chain) {
  const toml::table table = parse_file(file);
  chain.push_back(fs::weakly_canonical(file).string());
  if (std::ranges::count(chain, chain.back()) > 1)
    fail_usage("{}: recipes extend each other in a circle: {}", file.string(), fmt::join(chain, " -> "));
  if (const toml::node* base = table.get("extends")) {
    const auto name = base->value_exact<std::string>();
    if (!name)
      fail_usage("{}:{}: extends: expected the path of a recipe, as a string", file.string(),
                 base->source().begin.line);
    read_file(settings, file.parent_path() / *name, chain);
  }
  collect_file(settings, file, table);
}

// "model.layers=4" as a table of one key; a bare word is a string.
toml::table parse_override(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string form = "expected section.key=value, as model.layers=4";
  if (equals == std::string::npos || equals == 0) fail_usage("--set {}: {}", text, form);
  try {
    return toml::parse(text);
  } catch (const toml::parse_error&) {
  }
  const std::string value = text.substr(equals + 1);
  if (value.find_first_of("[]{}\"'\n") != std::string::npos)
    fail_usage("--set {}: the value is not TOML; lists are [\"a\", \"b\"], tables {{a = 1}}", text);
  try {
    return toml::parse(fmt::format("{}='{}'", text.substr(0, equals), value));
  } catch (const toml::parse_error&) {
    fail_usage("--set {}: {}", text, form);
  }
}

}  // namespace

Settings read_settings(const fs::path& file, const std::vector<std::string>& overrides) {
  Settings settings;
  read_file(settings, file, {});
  for (const std::string& text : overrides) {
    const toml::table table = parse_override(text);
    if (table.contains("extends"))
      fail_usage("--set {}: extends belongs in the recipe file, or is the recipe to name instead", text);
    Collector{settings, fs::current_path(), [&](const toml::source_region&) { return "--set " + text; }}
        .collect(table, "");
  }
  return settings;
}

Settings settings_of_text(const std::string& text, const fs::path& file) {
  Settings settings;
  try {
    collect_file(settings, file, toml::parse(text));
  } catch (const toml::parse_error& error) {
    fail_usage("{}:{}: not TOML: {}", file.string(), error.source().begin.line, error.description());
  }
  return settings;
}

}  // namespace fern
