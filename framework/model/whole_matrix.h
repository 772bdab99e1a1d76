// The values of a parameter as its whole matrix, with zeros where no weight exists: what other programs read,
// and how weights go from one pattern to another. One matrix at a time.
#pragma once

#include <span>

#include "framework/model/parameters.h"

namespace fern {

// Writes all shape.elements() values, row-major. REQUIRES: f32 parameters; out is as large.
void write_whole(std::span<float> out, const Parameters& parameters, int index);
// The parameter's weights take their values out of `whole`. Of a sparse parameter, `whole` keeps zeros in
// their place: whatever else is in it then belongs to no weight. REQUIRES: as write_whole().
void take_whole(Parameters& parameters, int index, std::span<float> whole);

// Calls visit(first value here, first value in the whole matrix, count) for the stretches of values that a
// parameter without a pattern has of its matrix, where ranks share it (Placement).
template <typename Visit>
void for_each_stretch(const Parameter& parameter, const Visit& visit) {
  const int64_t elements = parameter.shape.elements(), rows = parameter.shape[0], columns = elements / rows;
  const Placement& place = parameter.place;
  if (place.dimension == 0) return visit(int64_t{0}, place.begin * columns, elements);
  for (int64_t row = 0; row < rows; ++row) visit(row * columns, row * place.whole + place.begin, columns);
}
// Copies them out of the whole matrix, or into it.
void take_share(std::span<float> share, std::span<const float> whole, const Parameter& parameter);
void put_share(std::span<float> whole, std::span<const float> share, const Parameter& parameter);

}  // namespace fern
