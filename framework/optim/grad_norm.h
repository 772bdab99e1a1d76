// The global gradient norm, with the same bits for every layout of slices over processes: squares are summed
// in f64 chunk by chunk, and the chunks' sums in order.
//
//   square_sums(squares, parameters, slices)   each process fills the chunks of its slices
//   scalars.sum(squares)                       exact: each chunk is filled by one process
//   norm_of(squares)
#pragma once

#include <cstdint>
#include <span>

#include "framework/model/parameters.h"

namespace fern {

// Chunks of the flat gradient, kParameterChunk elements each: the length of `squares` below.
int64_t gradient_chunks(const Parameters& parameters);

// squares[c] = sum of squares of gradients() in chunk c, for the chunks of `slices`; 0 for all others.
// Parameters that another rank counts (Placement::counted) are left out. REQUIRES: f32 gradients. Errors: a
// slice that does not begin and end with a chunk, squares of another length.
void square_sums(std::span<double> squares, const Parameters& parameters, const Slices& slices);

// sqrt of the sum in order. NaN and infinity come through.
double norm_of(std::span<const double> squares);

}  // namespace fern
