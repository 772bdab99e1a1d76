#include <fmt/format.h>

#include <sstream>

#include "recipes/fields.h"
#include "recipes/recipe.h"

namespace fern {

namespace {

constexpr std::string_view kIntroduction =
    R"(A recipe is one experiment in one TOML file. `extends = "other.toml"` (a path relative to the recipe) starts
from another recipe; `--set section.key=value` overrides any key from the command line. Keys marked
"may change" can differ between a run and its continuation; all others are part of what the run is.
)";

// Words of `text` in lines of at most 100 columns, each indented.
std::string wrapped(const std::string& text, size_t indent) {
  std::istringstream words(text);
  std::string lines, line, word;
  while (words >> word) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > 100) {
      lines += std::string(indent, ' ') + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return lines + std::string(indent, ' ') + line + "\n";
}

std::string describe(const Field& field) {
  const std::string unit = field.unit.empty() ? "" : fmt::format(" [{}]", field.unit);
  const std::string fallback = field.required ? "required" : "default " + to_text(value_of(field, Recipe{}));
  std::string text = fmt::format("  {}{}: {}; {}{}\n", field.name(), unit, accepted(field), fallback,
                                 field.may_change ? "; may change" : "");
  std::string meaning(field.meaning);
  if (!field.raising.empty()) meaning += fmt::format(" Raising it: {}.", field.raising);
  return text + wrapped(meaning, 6);
}

}  // namespace

std::string recipe_help() {
  std::string text(kIntroduction);
  for (const std::string_view section : sections()) {
    text += fmt::format("\n[{}]\n", section);
    for (const Field& field : fields())
      if (field.section() == section) text += describe(field);
  }
  return text;
}

}  // namespace fern
