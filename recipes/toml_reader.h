// From recipe files and overrides to checked values, each with the place it came from.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "recipes/fields.h"

namespace fern {

// What was given for one key. `where` starts messages: "recipes/a.toml:12" or "--set model.layers=4".
struct Setting {
  Value value;
  std::string where;
};

// By full key.
using Settings = std::map<std::string, Setting, std::less<>>;

// Reads `file` over what it extends (deepest first), then the overrides. Errors (kBadUsage): no such file,
// not TOML, a circle of extends, an unknown key, a value of another type or outside its range.
Settings read_settings(const std::filesystem::path& file, const std::vector<std::string>& overrides);
// Of a recipe's text; `file`, where it is from, starts messages. Errors: as read_settings().
Settings settings_of_text(const std::string& text, const std::filesystem::path& file);

}  // namespace fern
