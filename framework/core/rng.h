// Random numbers keyed by (seed, purpose, a, b): the same on every rank, in any order of calls.
// Philox4x32-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.
#pragma once

#include <array>
#include <cstdint>

namespace fern {

// What a random number is for. A purpose never changes its number: it is part of every result.
enum class Purpose : uint32_t {
  kInitialWeights = 1,
  kEpochOrder = 2,
  kGeneration = 3,
  kTokenizerText = 4,
  kTemplate = 5,
  kSplit = 6,
  kTest = 7,
  kTopology = 8,  // which weights exist at first
  kGrowth = 9,    // which ones a topology update adds at random
};

// The 128 random bits of one key. `a` and `b` are the purpose's own coordinates (step and index, say).
std::array<uint32_t, 4> random_bits(uint64_t seed, Purpose purpose, uint64_t a, uint32_t b);

// Uniform in [0, 1), 53 bits.
double random_uniform(uint64_t seed, Purpose purpose, uint64_t a, uint32_t b = 0);
// Uniform in [0, bound); bound >= 1. Lemire's multiply-shift on 64 bits: its bias is below bound / 2^64.
uint64_t random_below(uint64_t bound, uint64_t seed, Purpose purpose, uint64_t a, uint32_t b = 0);
// Standard normal, Box-Muller.
double random_normal(uint64_t seed, Purpose purpose, uint64_t a, uint32_t b = 0);

// A keyed bijection of [0, size): position `index` of a shuffle that is never stored. A Feistel network over
// the next power of four, walking the cycle until it lands inside (Black and Rogaway 2002). REQUIRES index <
// size.
uint64_t permuted(uint64_t index, uint64_t size, uint64_t seed, Purpose purpose, uint64_t a);

}  // namespace fern
