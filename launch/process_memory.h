// The memory of a process that lies outside its arenas: the program, its libraries, and what these keep for
// each thread.
#pragma once

#include <cstddef>

#include "framework/model/config.h"
#include "recipes/recipe.h"

namespace fern {

// Resident set of this process once its libraries are at work: a small model with the recipe's head size is
// trained for some micro-batches on each thread in turn, because the matrix library and attention keep
// scratch for each. From then on large memory that is freed goes back to the system. Call it when data is
// open and the threads are set, before arenas are taken.
size_t working_process_bytes(const ModelConfig& model, const Recipe& recipe);

// What MPI adds to each rank, for plans that are made without it: Open MPI 4.1 with its shared-memory
// transport, measured.
inline constexpr size_t kMpi_bytes = 9'500'000;

// What the loop takes beside its arenas: its log, counts, and buffers for saving. Measured.
inline constexpr size_t kLoop_bytes = 5'000'000;

}  // namespace fern
