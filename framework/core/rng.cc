#include "framework/core/rng.h"

#include <cassert>
#include <cmath>
#include <numbers>

namespace fern {

namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round, key0 += kWeyl0, key1 += kWeyl1) {
    const uint64_t product0 = uint64_t{kMultiplier0} * counter[0],
                   product1 = uint64_t{kMultiplier1} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(product0)};
  }
  return counter;
}

uint64_t random_u64(uint64_t seed, Purpose purpose, uint64_t a, uint32_t b) {
  const auto bits = random_bits(seed, purpose, a, b);
  return (uint64_t{bits[0]} << 32) | bits[1];
}

}  // namespace

std::array<uint32_t, 4> random_bits(uint64_t seed, Purpose purpose, uint64_t a, uint32_t b) {
  return philox({static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32), b, static_cast<uint32_t>(purpose)},
                static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

double random_uniform(uint64_t seed, Purpose purpose, uint64_t a, uint32_t b) {
  return static_cast<double>(random_u64(seed, purpose, a, b) >> 11) * 0x1.0p-53;
}

uint64_t random_below(uint64_t bound, uint64_t seed, Purpose purpose, uint64_t a, uint32_t b) {
  assert(bound >= 1);
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>((Wide{random_u64(seed, purpose, a, b)} * bound) >> 64);
}

double random_normal(uint64_t seed, Purpose purpose, uint64_t a, uint32_t b) {
  const auto bits = random_bits(seed, purpose, a, b);
  const double u = (static_cast<double>(bits[0]) + 0.5) * 0x1.0p-32;
  const double v = static_cast<double>(bits[1]) * 0x1.0p-32;
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

uint64_t permuted(uint64_t index, uint64_t size, uint64_t seed, Purpose purpose, uint64_t a) {
  assert(index < size);
  uint32_t half_bits = 1;
  while (half_bits < 31 && (uint64_t{1} << (2 * half_bits)) < size) ++half_bits;
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  uint64_t value = index;
  do {
    uint64_t left = value >> half_bits, right = value & mask;
    for (uint32_t round = 0; round < 6; ++round) {
      const uint64_t mixed = random_bits(seed ^ (a * 0x9E3779B97F4A7C15u), purpose, right, round)[0] & mask;
      const uint64_t next = left ^ mixed;
      left = right;
      right = next;
    }
    value = (left << half_bits) | right;
  } while (value >= size);
  return value;
}

}  // namespace fern
