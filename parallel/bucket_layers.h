// Whose gradients a part of the flat buffer holds.
#pragma once

#include <cstdint>
#include <span>

#include "framework/model/parameters.h"

namespace fern {

struct LayerRange {
  int32_t first = -1, last = -1;  // -1: of no layer, as embedding and head are
  bool operator==(const LayerRange&) const = default;
};

// The layers of the parameters in `slice`. REQUIRES: `list` in the order of the buffer.
LayerRange layers_in(Slice slice, std::span<const Parameter> list);

}  // namespace fern
