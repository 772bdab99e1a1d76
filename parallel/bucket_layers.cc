#include "parallel/bucket_layers.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace fern {

namespace {

// Of "model.layers.3.mlp.up_proj.weight", 3.
int32_t layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "model.layers.";
  int32_t layer = -1;
  if (name.starts_with(kPrefix))
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

}  // namespace

LayerRange layers_in(Slice slice, std::span<const Parameter> list) {
  LayerRange range;
  for (auto at = std::ranges::lower_bound(list, slice.begin + 1, {},
                                          [](const Parameter& p) { return p.offset + p.elements(); });
       at != list.end() && at->offset < slice.end; ++at) {
    const int32_t layer = layer_of(at->name);
    if (layer < 0) continue;
    range.first = range.first < 0 ? layer : std::min(range.first, layer);
    range.last = std::max(range.last, layer);
  }
  return range;
}

}  // namespace fern
