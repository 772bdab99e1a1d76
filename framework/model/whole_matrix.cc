#include "framework/model/whole_matrix.h"

#include <algorithm>

#include "framework/core/error.h"
#include "framework/sparsity/expand.h"
#include "framework/sparsity/plain_product.h"

namespace fern {

namespace {

const Parameter& sized(const Parameters& parameters, int index, size_t elements) {
  const Parameter& parameter = parameters.list()[static_cast<size_t>(index)];
  expect(static_cast<int64_t>(elements) == parameter.shape.elements(),
         "[whole_matrix] {}: expected {} values, got {}", parameter.name, parameter.shape.elements(),
         elements);
  return parameter;
}

}  // namespace

void write_whole(std::span<float> out, const Parameters& parameters, int index) {
  const std::span<const float> values = parameters.value(index).values<float>();
  if (!sized(parameters, index, out.size()).sparse) {
    std::ranges::copy(values, out.begin());
    return;
  }
  expand(out, values, parameters.pattern_of(index));
}

void take_whole(Parameters& parameters, int index, std::span<float> whole) {
  const std::span<float> values = parameters.value(index).values<float>();
  if (!sized(parameters, index, whole.size()).sparse) {
    std::ranges::copy(whole, values.begin());
    return;
  }
  const Pattern pattern = parameters.pattern_of(index);
  gather(values, whole, pattern);
  for_each_weight(pattern, 0, pattern.block_rows(), [&](int64_t row, int64_t column, int64_t) {
    whole[static_cast<size_t>(row * pattern.columns() + column)] = 0;
  });
}

}  // namespace fern
