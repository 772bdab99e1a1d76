// Which layers each stage of a pipeline holds.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/model/config.h"
#include "framework/model/part.h"
#include "parallel/mesh.h"

namespace fern {

// Splits the layers so that the part with most FLOPs has as few as can be: a layer counts its products and
// its attention over config.context positions, the last part also the head. The earlier parts are as short as
// this allows. REQUIRES: 1 <= parts <= config.layers.
std::vector<ModelPart> split_layers(const ModelConfig& config, int64_t parts);

// The parts that a stage holds, of mesh.pipeline * mesh.virtual_stages: its own number, and from there on
// each mesh.pipeline-th (Narayanan et al. 2021, section 2.2.2). REQUIRES: mesh resolved for these layers.
std::vector<ModelPart> parts_of_stage(const ModelConfig& config, const Mesh& mesh, int64_t stage);

// FLOPs of a token, forward and backward, in one part: they add up to training_flops_per_token(config,
// context).
double flops_of_part(const ModelConfig& config, const ModelPart& part);

}  // namespace fern
