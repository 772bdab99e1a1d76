// What of the flat parameter buffers the same ranks hold: a region of them, whose gradients these ranks sum
// in one tree, and of which each keeps a slice under ZeRO. It is all that a rank has; but where data ranks
// share experts there are two, one after the other: what all replicas hold, and the rank's own experts. An
// expert's gradient already holds what the micro-batches of all ranks that share its layer's experts add to
// it; so it is summed further over those that hold the same alone, as one shard for each round of shards.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/core/tensor.h"
#include "framework/model/parameters.h"
#include "framework/model/slices.h"
#include "parallel/mesh.h"
#include "parallel/reduction_plan.h"

namespace fern {

// Consecutive parameters, and their part of the flat buffers.
struct Region {
  int64_t begin = 0, end = 0;  // in the flat buffers, whole chunks
  bool own_experts = false;
  std::span<const Parameter> list;
  Tensor values, gradients;  // flat; empty before they are allocated
  int64_t elements() const { return end - begin; }
};
// The parameters in one region, whoever holds what.
Region whole_region(const Parameters& parameters);
// By the ranks that hold them.
std::vector<Region> regions_of(const Parameters& parameters);
// Of gradients (f32, flat) that are no parameters', of own experts from `experts_begin` on, a whole chunk.
// Empty regions are left out.
std::vector<Region> regions_of(const Tensor& gradients, int64_t experts_begin);

// How the gradients of a region are summed by replica `replica` of the mesh, with so many shards in a step.
// `largest_bucket` as in plan_reduction().
ReductionPlan plan_of(const Region& region, const Mesh& mesh, int64_t shards, int64_t replica,
                      int64_t largest_bucket = kLargestBucket);

}  // namespace fern
