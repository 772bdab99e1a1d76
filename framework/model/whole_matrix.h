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

}  // namespace fern
