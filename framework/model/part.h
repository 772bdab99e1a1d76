// The part of a model that one process holds.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "framework/model/parameters.h"

namespace fern {

inline constexpr int64_t kAllLayers = std::numeric_limits<int64_t>::max();

// Some layers: the first part has the embedding too, the last one the final norm and the head. A tied
// embedding is held by the last part, and the first one looks its values up in a copy.
struct ModelPart {
  int64_t first_layer = 0, last_layer = kAllLayers;  // [first, last)
  bool operator==(const ModelPart&) const = default;
};

// Chunks (kParameterChunk) of a part's flat buffers, and where they are in those of the whole model.
struct ChunkRun {
  int64_t part = 0, whole = 0, count = 0;
  bool operator==(const ChunkRun&) const = default;
};
// REQUIRES: both laid out by the same model.
std::vector<ChunkRun> chunks_in_whole(const Parameters& part, const Parameters& whole);

}  // namespace fern
