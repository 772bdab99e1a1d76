// Combinations of keys that cannot be, found before anything is opened.
#pragma once

#include "recipes/recipe.h"
#include "recipes/toml_reader.h"

namespace fern {

// Errors (kBadUsage): a required key not given; the first combination that cannot be. Each names the place of
// the key to change and the values that would do.
void check(const Recipe& recipe);

// The recipe of these settings, which come from `file`. Errors: those of check().
Recipe checked_recipe(const Settings& settings, const std::filesystem::path& file);

}  // namespace fern
