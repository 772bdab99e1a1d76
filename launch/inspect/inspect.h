// What `fern inspect` says of a file or folder: one small function per kind of thing, and a table of them.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

namespace fern {

// Something Fern writes. `describe` reads and verifies all of it and returns what it says of itself; its
// errors name what is wrong.
struct Inspector {
  const char* what;  // "a shard (.h5)"
  bool (*recognises)(const std::filesystem::path&);
  nlohmann::ordered_json (*describe)(const std::filesystem::path&);
};

Inspector shard_inspector();       // *.h5 with packed sequences
Inspector prepared_inspector();    // the folder of `fern prepare`
Inspector checkpoint_inspector();  // step-NNNNNN
Inspector run_inspector();         // a run folder: its newest valid checkpoint
Inspector collection_inspector();  // the folder of `fern collect`
Inspector weights_inspector();     // a folder of `fern import`, `prune` or `densify`: the same
Inspector export_inspector();      // the folder of `fern export`

// In the order they are asked; the first that recognises a path describes it.
std::vector<Inspector> inspectors();

}  // namespace fern
