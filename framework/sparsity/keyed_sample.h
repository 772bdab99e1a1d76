// Draws without replacement that depend on their key alone.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "framework/core/rng.h"

namespace fern {

// `count` different numbers of [0, size), ascending, each set as likely as any other; time and memory are
// those of `count`. REQUIRES count <= size.
std::vector<uint64_t> keyed_sample(int64_t count, int64_t size, uint64_t seed, Purpose purpose, uint64_t key);

// A key for what happens to one weight at one step. Add a number below 2^32 for parts of the weight.
uint64_t sample_key(uint64_t seed, Purpose purpose, std::string_view weight_name, int64_t step);

}  // namespace fern
