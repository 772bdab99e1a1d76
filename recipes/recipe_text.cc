#include "recipes/recipe_text.h"

#include "recipes/check.h"

namespace fern {

Recipe recipe_of_text(const std::string& toml, const std::filesystem::path& file) {
  return checked_recipe(settings_of_text(toml, file), file);
}

}  // namespace fern
