// Packed weights with their memory, for tests.
#pragma once

#include <vector>

#include "framework/ops/packed_weight.h"

namespace fern::testing {

// Weights of these sizes that are all used in the same way.
struct PackedWeights {
  struct Size {
    int64_t outputs, inputs;
  };
  PackedWeights(const std::vector<Size>& sizes, const WeightUse& use) {
    arena = sized_arena("packed", [&](Arena& a) {
      weights.clear();
      rooms = PackingRooms();
      for (const Size& size : sizes) weights.emplace_back(size.outputs, size.inputs, use, rooms);
      rooms.allocate(a);
    });
  }
  PackedWeights(int64_t outputs, int64_t inputs, DType dtype)
      : PackedWeights({{outputs, inputs}}, WeightUse{dtype}) {}
  PackedWeight* operator->() { return &weights[0]; }

  PackingRooms rooms;
  std::vector<PackedWeight> weights;
  Arena arena = Arena::measuring("none");
};

}  // namespace fern::testing
