// Which weights of a sparse model exist, for `fern inspect`.
#pragma once

#include <nlohmann/json.hpp>

#include "framework/model/parameters.h"

namespace fern {

// Adds "topology_hash" and "sparsity": {name: {"nonzeros", "density", "block": [rows, columns]}}.
void describe_sparsity(nlohmann::ordered_json& described, const Parameters& parameters);

}  // namespace fern
