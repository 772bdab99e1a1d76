// In which order a stage of a pipeline does the forward and backward passes of a step.
#pragma once

#include <cstdint>
#include <vector>

namespace fern {

struct StageAction {
  enum class Kind : uint8_t { kBeginShard, kForward, kBackward, kEndShard };
  Kind kind = Kind::kForward;
  int64_t index = 0;  // of the micro-batch or the shard, among this process's of the step
  bool operator==(const StageAction&) const = default;
};

// Micro-batches that have gone forward and not yet backward, at most.
int64_t most_in_flight(int64_t stage, int64_t stages, int64_t micro_batches);

// One forward, one backward (Narayanan et al. 2021, section 2.2.1): the stage goes ahead by as many forward
// passes as there are stages after it, then alternates. On one stage each micro-batch goes backward right
// after its forward. Backward passes are in order everywhere, so that gradients are summed in the same order,
// shard by shard; on the last stage, whose forward adds to the gradients, a shard begins before the forward
// pass.
std::vector<StageAction> one_forward_one_backward(int64_t stage, int64_t stages, int64_t micro_batches,
                                                  int64_t micro_batches_a_shard);

}  // namespace fern
