// Hashes over all tensors of a model, and the parts of flat buffers that they are taken from.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/core/hash.h"
#include "framework/model/parameters.h"

namespace fern {

std::vector<int64_t> dims_of(const Shape& shape);
// Of a parameter's dataset: its shape, or its number of values when it is sparse.
std::vector<int64_t> dims_of_values(const Parameter& parameter);
// Name, a zero byte, rank and dims as int64: no two models run together to the same bytes.
void feed_header(Xxh128& hash, const Parameter& parameter);
// One parameter's part of a flat padded buffer.
std::span<const float> part_of(std::span<const float> flat, const Parameter& parameter);
std::span<float> part_of(std::span<float> flat, const Parameter& parameter);

}  // namespace fern
