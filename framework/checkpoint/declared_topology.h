// What the exported folder of a sparse model says of its patterns (format.md, "Exported folders"). The
// tensors are whole matrices, which cannot tell a weight that is zero from one that does not exist, so
// topology.h5 lies beside them.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "framework/model/parameters.h"

namespace fern {

using SafetensorsMetadata = std::map<std::string, std::string>;

// Writes topology.h5 into the folder and returns what every safetensors file declares of it; of a dense model
// nothing. Errors: not writable, disk full.
SafetensorsMetadata declare_topology(const std::filesystem::path& folder, const Parameters& parameters);
// The hash of all patterns that a file declares; "" where it declares none.
std::string declared_topology_hash(const SafetensorsMetadata& metadata);
// The declared patterns; none where none are. Errors: topology.h5 missing or changed; a number of weights, a
// density or a hash that is not its; patterns that are not of these parameters.
std::vector<SparseRun> read_declared_topology(const std::filesystem::path& folder,
                                              const SafetensorsMetadata& metadata,
                                              const Parameters& parameters);

}  // namespace fern
