// The parts of a model that one process holds.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "framework/model/parameters.h"

namespace fern {

inline constexpr int64_t kAllLayers = std::numeric_limits<int64_t>::max();

// Some layers, one after the other: the first part of a model has the embedding too, the last one the final
// norm and the head. A process holds one part, or several with others' between them. A tied embedding is held
// with the last part, and the first one, elsewhere, looks its values up in a copy.
struct ModelPart {
  int64_t first_layer = 0, last_layer = kAllLayers;  // [first, last)
  int64_t layers() const { return last_layer - first_layer; }
  bool operator==(const ModelPart&) const = default;
};

// Chunks (kParameterChunk) of the flat buffers of parts, and where they are in those of the whole model.
struct ChunkRun {
  int64_t part = 0, whole = 0, count = 0;
  bool own_experts = false;
  bool operator==(const ChunkRun&) const = default;
};
// REQUIRES: both laid out by the same model.
std::vector<ChunkRun> chunks_in_whole(const Parameters& parts, const Parameters& whole);

}  // namespace fern
