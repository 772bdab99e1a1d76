// Values of a recipe that can be and can hardly be meant.
#pragma once

#include <string>
#include <vector>

#include "recipes/recipe.h"

namespace fern {

// A line for each, with its place, what comes of it and what is usual.
std::vector<std::string> doubts(const Recipe& recipe);

}  // namespace fern
