// Settings that a run takes and that can hardly be meant.
#pragma once

#include "recipes/recipe.h"

namespace fern {

// Logs a warning for each of recipes/doubts.h, and one for keys of [sparsity] that are not at their defaults
// and do not count, as training `begins` with the patterns of another model; it names that one. Errors: those
// of find_checkpoint().
void warn_of_settings(const Recipe& recipe, bool begins);

}  // namespace fern
