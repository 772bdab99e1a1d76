#include "framework/sparsity/keyed_sample.h"

#include <algorithm>

#include "framework/core/error.h"
#include "framework/core/hash.h"

namespace fern {

std::vector<uint64_t> keyed_sample(int64_t count, int64_t size, uint64_t seed, Purpose purpose,
                                   uint64_t key) {
  expect(count >= 0 && count <= size, "[keyed_sample] expected to draw 0 to {} numbers, got {}", size, count);
  std::vector<uint64_t> sample(static_cast<size_t>(count));
#pragma omp parallel for schedule(static) if (count > 4096)
  for (size_t i = 0; i < sample.size(); ++i)
    sample[i] = permuted(i, static_cast<uint64_t>(size), seed, purpose, key);
  std::sort(sample.begin(), sample.end());
  return sample;
}

uint64_t sample_key(uint64_t seed, Purpose purpose, std::string_view weight_name, int64_t step) {
  const auto bits = random_bits(seed, purpose, xxh64(weight_name), static_cast<uint32_t>(step));
  return (uint64_t{bits[0]} << 32) | bits[1];
}

}  // namespace fern
