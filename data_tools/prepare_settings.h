// All that the result of `fern prepare` depends on.
#pragma once

#include <nlohmann/json.hpp>

#include "data_tools/segment_files.h"
#include "recipes/recipe.h"

namespace fern {

// The recipe's keys that say what the data is, as `fern train` may find them changed.
nlohmann::json data_settings(const Recipe& recipe);

// The recipe's keys that matter and the hashes of segments and templates: equal settings give equal folders.
// The seed of training is not among them: all seeds share one set of data. Errors: a file that cannot be
// read.
nlohmann::json prepare_settings(const Recipe& recipe, const LanguageFiles& files);

}  // namespace fern
