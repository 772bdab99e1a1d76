#include "framework/model/part.h"

#include <algorithm>

#include "framework/core/error.h"

namespace fern {

std::vector<ChunkRun> chunks_in_whole(const Parameters& parts, const Parameters& whole) {
  if (&parts == &whole) return {{0, 0, whole.padded_elements() / kParameterChunk}};
  std::vector<ChunkRun> runs;
  int64_t end = 0;  // of the group
  for (size_t i = parts.list().size(); i-- > 0;) {
    const Parameter& first = parts.list()[i];
    end = std::max(end, first.offset + first.elements());
    if (i > 0 && !first.begins_group) continue;
    const int there = whole.find(first.name);
    expect(there >= 0, "[part] '{}' is no parameter of the whole model", first.name);
    runs.push_back({first.offset / kParameterChunk,
                    whole.list()[static_cast<size_t>(there)].offset / kParameterChunk,
                    (end - first.offset + kParameterChunk - 1) / kParameterChunk, i >= parts.own_experts()});
    end = 0;
  }
  return runs;
}

}  // namespace fern
