#include "data_tools/template_text.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "framework/core/error.h"

namespace fern {
namespace {

constexpr std::array<std::string_view, kVariables> kNames = {"language", "english", "text", "note", "shots"};

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

std::string at(const TemplatePlace& place, std::string_view before) {
  return fmt::format("{}:{}", place.file.string(),
                     place.line + std::count(before.begin(), before.end(), '\n'));
}

Variable variable_named(std::string_view name, const std::string& where) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) {
    fail_usage("{}: unknown variable {{{{ {} }}}}; a template takes {}", where, name,
               fmt::join(kNames, ", "));
  }
  return static_cast<Variable>(found - kNames.begin());
}

}  // namespace

std::string_view variable_name(Variable variable) { return kNames[static_cast<size_t>(variable)]; }

TemplateText::TemplateText(std::string_view text, const TemplatePlace& place) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t open = std::min(text.find("{{", begin), text.size());
    if (open > begin) parts_.push_back({.literal = std::string(text.substr(begin, open - begin))});
    if (open == text.size()) break;
    const size_t close = text.find("}}", open);
    const std::string where = at(place, text.substr(0, open));
    if (close == text.npos) fail_usage("{}: expected \"}}}}\" after \"{{{{\"", where);
    const std::string_view name = trimmed(text.substr(open + 2, close - open - 2));
    parts_.push_back({.literal = {}, .is_variable = true, .variable = variable_named(name, where)});
    begin = close + 2;
  }
}

std::string TemplateText::render(const Values& values) const {
  std::string text;
  for (const Part& part : parts_) text += part.is_variable ? values[part.variable] : part.literal;
  return text;
}

bool TemplateText::uses(Variable variable) const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [&](const Part& part) { return part.is_variable && part.variable == variable; });
}

}  // namespace fern
