// Choosing the next token from logits.
#pragma once

#include <cstdint>
#include <span>

namespace fern {

struct SamplingConfig {
  double temperature = 0;  // 0: greedy, the largest logit (the lowest id on ties)
  double top_p =
      1;  // keep the fewest most likely tokens whose probability reaches this (Holtzman et al. 2020)
  uint64_t seed = 1;
};

// Errors (kBadUsage): a negative temperature, top_p outside (0, 1].
void validate(const SamplingConfig& config);

// The token for position `index` of a generation: keyed, so that the same seed gives the same text.
int32_t sample(std::span<const float> logits, const SamplingConfig& config, uint64_t index);

}  // namespace fern
