// The memory of a run, by name: what `fern plan` prints and what `fern train` takes, from the same code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "framework/core/arena.h"
#include "framework/model/config.h"
#include "recipes/recipe.h"

namespace fern {

// Bytes of each arena, on the rank that needs most.
struct ArenaSizes {
  size_t parameters = 0;   // values and gradients, and values as products read them
  size_t optimizer = 0;    // both moments, of this rank's slice
  size_t reduction = 0;    // shard sums, and what other ranks send
  size_t activations = 0;  // of one micro-batch, with scratch
};

// Runs the very code that allocates, with measuring arenas. `model.vocabulary` is known; `mesh` is resolved.
ArenaSizes measure_arenas(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh);

// Resident set of this process with its libraries at work: one small product of each kind is computed first,
// because the matrix library takes scratch of its own with its first. Call it when data is open and the
// threads are set, before arenas are taken.
size_t working_process_bytes();

struct MemoryItem {
  std::string name;
  size_t bytes = 0;
  std::string meaning;
};

// All memory of one rank: the arenas, and what lies outside them. `process_bytes` is
// working_process_bytes(), `mapped_bytes` what is touched of the shards.
std::vector<MemoryItem> memory_of_rank(const ArenaSizes& arenas, const ModelConfig& model, const Mesh& mesh,
                                       size_t process_bytes, size_t mapped_bytes);
size_t total_bytes(const std::vector<MemoryItem>& items);

// Errors (kFailed): `ranks` on this machine need more than it has to give, naming the largest items and what
// makes them smaller.
void expect_fits(const std::vector<MemoryItem>& items, int ranks, size_t available_bytes);

}  // namespace fern
