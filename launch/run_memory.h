// The memory of a run, by name: what `fern plan` prints and what `fern train` takes, from the same code.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "framework/core/arena.h"
#include "framework/model/config.h"
#include "launch/initial_model.h"
#include "recipes/recipe.h"

namespace fern {

// Bytes of each arena, on the rank of a stage that needs most.
struct ArenaSizes {
  size_t values = 0;       // what is memory of them at a time
  size_t gradients = 0;    // likewise
  size_t packed = 0;       // values as products read them
  size_t optimizer = 0;    // both moments, of this rank's slice
  size_t reduction = 0;    // shard sums, and what other ranks send
  size_t activations = 0;  // of the micro-batches in flight, with scratch and what stages exchange
  size_t topology = 0;     // rows of dense gradient that growing looks at, with their reduction
  size_t patterns = 0;     // which weights exist, and what products and methods keep beside: no arena
  size_t all = 0;          // of all values, and of all gradients
  // Addresses of all values, and of all gradients; of moments; of sums. They are more than what exists where
  // a rank's shares of sparse matrices may get more weights.
  size_t room = 0, optimizer_room = 0, reduction_room = 0;
  size_t all_patterns = 0;  // of the whole model, on rank 0 while it saves: no arena
  size_t timing = 0;        // of sparse products, when a run begins: no arena
  size_t update = 0;        // when patterns change: no arena

  size_t total() const {
    return values + gradients + packed + optimizer + reduction + activations + topology + patterns;
  }
  size_t for_a_while() const { return std::max(timing, update); }
  size_t peak() const { return total() + for_a_while(); }
};

// Positions of a micro-batch that one rank takes through its layers. `model` is the recipe's.
int64_t tokens_of_pass(const Recipe& recipe, const ModelConfig& model, const Mesh& mesh);
// The arena of what is laid out like the parameters, of which so many bytes are memory at a time.
Arena flat_arena(std::string name, size_t bytes, size_t room, Device device = Device::kCpu);

// Runs the very code that allocates, with measuring arenas. `model.vocabulary` is known; `mesh` is resolved;
// `continued` as in set_recipe_patterns().
ArenaSizes measure_arenas(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh,
                          const ContinuedRun* continued = nullptr, const MeshPlace& place = {});
// The same when the run needs most, which is when it begins, or after the first pruning.
ArenaSizes peak_arenas(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh,
                       const ContinuedRun* continued = nullptr, const MeshPlace& place = {});
// Of the rank that needs most.
ArenaSizes largest_arenas(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh,
                          const ContinuedRun* continued = nullptr);

struct MemoryItem {
  std::string name;
  size_t bytes = 0;
  std::string meaning;
  bool once = false;  // on the first rank only
};

// All memory of the rank that needs most: the arenas, and what lies outside them. `process_bytes` is
// working_process_bytes(). Mapped shards are not in it: the loader keeps no page of them.
std::vector<MemoryItem> memory_of_rank(const ArenaSizes& arenas, const ModelConfig& model, const Mesh& mesh,
                                       size_t process_bytes);
size_t total_bytes(const std::vector<MemoryItem>& items);
// What `ranks` ranks take together.
size_t machine_bytes(const std::vector<MemoryItem>& items, int ranks);

// Errors (kFailed): `ranks` on this machine need more than it has to give, naming the largest items and what
// makes them smaller.
void expect_fits(const std::vector<MemoryItem>& items, int ranks, size_t available_bytes);

}  // namespace fern
