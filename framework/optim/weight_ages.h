// How old the weights of a sparse model are.
#pragma once

#include <cstdint>
#include <vector>

namespace fern {

// When weights began to exist, where some began later than the run: generation g was grown after
// births[g] updates, generation 0 at the start (births[0] = 0).
struct WeightAges {
  std::vector<uint16_t> generation;  // by element of the flat buffers; empty: all are of generation 0
  std::vector<int64_t> births = {0};
};

}  // namespace fern
