// A weight with a pattern as its whole matrix: row-major, f32, with zeros where no weight exists.
#pragma once

#include <span>

#include "framework/sparsity/pattern.h"

namespace fern {

// All REQUIRE: `values` are nonzeros() in the pattern's order, `whole` is all of rows() x columns().

// Writes the matrix.
void expand(std::span<float> whole, std::span<const float> values, const Pattern& pattern);
// values = the weights of the matrix that exist.
void gather(std::span<float> values, std::span<const float> whole, const Pattern& pattern);
// values += them.
void gather_add(std::span<float> values, std::span<const float> whole, const Pattern& pattern);

}  // namespace fern
