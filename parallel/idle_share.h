// How long the stages of a pipeline wait for each other.
#pragma once

#include <cstdint>

#include "framework/model/config.h"
#include "parallel/mesh.h"

namespace fern {

// The share of the stages' time that is spent waiting in a step of so many micro-batches on each stage, when
// a pass takes as long as its FLOPs, of which forward is a third, and nothing else takes time: the schedules
// of all stages, played through. Of equal parts (p - 1) / (v m + p - 1), which is (p - 1) / (v m) of the time
// at work (Narayanan et al. 2021, sections 2.2.1 and 2.2.2); more where a tied embedding makes the last stage
// wait for the first at the end of a shard. REQUIRES: as pipeline_schedule(); mesh resolved for the model.
double idle_share(const ModelConfig& config, const Mesh& mesh, int64_t micro_batches,
                  int64_t micro_batches_a_shard);

}  // namespace fern
