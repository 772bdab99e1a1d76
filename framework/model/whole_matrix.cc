#include "framework/model/whole_matrix.h"

#include <algorithm>

#include "framework/core/error.h"
#include "framework/sparsity/expand.h"
#include "framework/sparsity/for_each_weight.h"

namespace fern {

namespace {

const Parameter& sized(const Parameters& parameters, int index, size_t elements) {
  const Parameter& parameter = parameters.list()[static_cast<size_t>(index)];
  expect(static_cast<int64_t>(elements) == parameter.shape.elements(),
         "[whole_matrix] {}: expected {} values, got {}", parameter.name, parameter.shape.elements(),
         elements);
  return parameter;
}

void expect_sizes(size_t share, size_t whole, const Parameter& parameter) {
  expect(static_cast<int64_t>(share) == parameter.shape.elements() &&
             static_cast<int64_t>(whole) == parameter.whole_shape().elements(),
         "[whole_matrix] {}: expected {} values of {}, got {} of {}", parameter.name,
         parameter.shape.elements(), parameter.whole_shape().elements(), share, whole);
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

void take_share(std::span<float> share, std::span<const float> whole, const Parameter& parameter) {
  expect_sizes(share.size(), whole.size(), parameter);
  for_each_stretch(parameter, [&](int64_t here, int64_t there, int64_t count) {
    std::copy_n(whole.begin() + there, count, share.begin() + here);
  });
}

void put_share(std::span<float> whole, std::span<const float> share, const Parameter& parameter) {
  expect_sizes(share.size(), whole.size(), parameter);
  for_each_stretch(parameter, [&](int64_t here, int64_t there, int64_t count) {
    std::copy_n(share.begin() + here, count, whole.begin() + there);
  });
}

}  // namespace fern
