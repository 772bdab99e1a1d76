#include "framework/model/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "framework/core/error.h"
#include "framework/core/rng.h"

namespace fern {

void validate(const SamplingConfig& config) {
  if (!(config.temperature >= 0) || !std::isfinite(config.temperature))
    fail_usage("temperature: expected 0 (greedy) or more, got {}", config.temperature);
  if (!(config.top_p > 0 && config.top_p <= 1))
    fail_usage("top-p: expected above 0 and at most 1, got {}", config.top_p);
}

int32_t sample(std::span<const float> logits, const SamplingConfig& config, uint64_t index) {
  const auto largest = std::max_element(logits.begin(), logits.end());
  if (config.temperature == 0) return static_cast<int32_t>(largest - logits.begin());

  std::vector<double> probability(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    probability[i] = std::exp((static_cast<double>(logits[i]) - *largest) / config.temperature);
  const double total = std::accumulate(probability.begin(), probability.end(), 0.0);

  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    const double pa = probability[static_cast<size_t>(a)], pb = probability[static_cast<size_t>(b)];
    return pa != pb ? pa > pb : a < b;
  };
  std::sort(order.begin(), order.end(), likelier);
  double kept = 0;
  size_t count = 0;
  while (count < order.size() && (count == 0 || kept < config.top_p * total))
    kept += probability[static_cast<size_t>(order[count++])];

  double left = random_uniform(config.seed, Purpose::kGeneration, index) * kept;
  for (size_t i = 0; i + 1 < count; ++i) {
    left -= probability[static_cast<size_t>(order[i])];
    if (left < 0) return order[i];
  }
  return order[count - 1];
}

}  // namespace fern
