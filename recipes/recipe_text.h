// Recipes that are no file: a checkpoint keeps its run's as text.
#pragma once

#include <filesystem>
#include <string>

#include "recipes/recipe.h"

namespace fern {

// The recipe that to_toml() made this text of; `file`, where it is kept, starts messages. Errors: as
// read_recipe().
Recipe recipe_of_text(const std::string& toml, const std::filesystem::path& file);

}  // namespace fern
