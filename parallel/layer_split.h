// Which layers each stage of a pipeline holds, and how long stages then wait for each other.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/model/config.h"
#include "framework/model/part.h"

namespace fern {

// Splits the layers so that the stage with most FLOPs has as few as can be: a layer counts its products and
// its attention over config.context positions, the last stage also the head. The earlier stages are as short
// as this allows. REQUIRES: 1 <= stages <= config.layers.
std::vector<ModelPart> split_layers(const ModelConfig& config, int64_t stages);

// FLOPs of a token, forward and backward, in one part: they add up to training_flops_per_token(config,
// context).
double flops_of_part(const ModelConfig& config, const ModelPart& part);

// The share of the stages' time that is spent waiting, when micro-batches take as long as their FLOPs: one
// after the other they pass all stages, m - 1 of them behind the slowest. Of equal stages (P - 1) / (m + P -
// 1) (Narayanan et al. 2021, section 2.2.1, there as a share of the time at work).
double idle_share(const ModelConfig& config, const std::vector<ModelPart>& parts, int64_t micro_batches);

}  // namespace fern
