#include "framework/train/solo_reducer.h"

#include <algorithm>

#include "framework/core/error.h"

namespace fern {

SoloReducer::SoloReducer(const Tensor& gradients, int64_t shards, Arena& arena)
    : sum_(gradients, 0, shards, shards, arena), whole_{0, gradients.elements()} {}

void SoloReducer::set_layout(const Parameters& parameters) {
  sum_.set_gradients(parameters.gradients());
  whole_ = {0, parameters.gradients().elements()};
}

void SoloReducer::gather_everywhere(std::span<float> whole, std::span<const float> slices) {
  expect(whole.size() == slices.size(), "[solo reducer] expected {} elements, got {}", whole.size(),
         slices.size());
  std::ranges::copy(slices, whole.begin());
}

}  // namespace fern
