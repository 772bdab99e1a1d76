// What `fern plan` says of a mesh of ranks.
#pragma once

#include <string>
#include <vector>

#include "framework/model/config.h"
#include "parallel/mesh.h"
#include "recipes/recipe.h"

namespace fern {

// The stages with their layers and memory, the share of time that they wait for each other, and the bytes
// that a step sends over each axis, by the formulas of those who send them: one line each, none for one rank.
std::vector<std::string> mesh_report(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh);

}  // namespace fern
