// Hashes over all tensors of a model, and the parts of flat buffers that they are taken from.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/model/parameters.h"

namespace fern {

std::vector<int64_t> dims_of(const Shape& shape);
// One parameter's part of a flat padded buffer.
std::span<const float> part_of(std::span<const float> flat, const Parameter& parameter);
std::span<float> part_of(std::span<float> flat, const Parameter& parameter);

// XXH3-128 over, for each parameter in order, its name, shape and both moments (whole, padded flat buffers).
std::string moments_hash(const Parameters& parameters, std::span<const float> first,
                         std::span<const float> second);

}  // namespace fern
