// In which order a stage of a pipeline does the forward and backward passes of a step.
#pragma once

#include <cstdint>
#include <vector>

namespace fern {

struct StageAction {
  enum class Kind : uint8_t { kBeginShard, kForward, kBackward, kEmbedded, kEndShard };
  Kind kind = Kind::kForward;
  int64_t index = 0;  // of the micro-batch or the shard, among this process's of the step
  int64_t part = 0;   // of the stage's, for a pass
  bool operator==(const StageAction&) const = default;
};

// A stage, and its work in a step.
struct StageWork {
  int64_t stage = 0, stages = 1;
  int64_t parts = 1;  // of the model, that each stage holds: part i of stage s is the (i * stages + s)-th
  int64_t micro_batches = 1, micro_batches_a_shard = 1;
};

// Of one part: one forward, one backward (Narayanan et al. 2021, section 2.2.1): the stage goes ahead by as
// many forward passes as there are stages after it, then alternates. Of several, interleaved (section 2.2.2
// and its implementation in Megatron-LM): as many micro-batches as there are stages go through the first
// parts, then through the second, and so on, and backward the other way round; the stage goes ahead by all
// parts but one of these, and by two for each stage after it. On one stage each micro-batch goes backward
// right after its forward.
//
// Backward passes of a part are in order everywhere, and those of a shard come before those of the next, so
// that gradients are summed in the same order, shard by shard; on the last stage, whose forward through the
// last part adds to the gradients, a shard begins before that pass, and its backward comes right after it.
// There kEmbedded takes a micro-batch's gradient of the embedded inputs, which its backward has left on the
// first stage: as late as stages are apart, or at the shard's end. REQUIRES: with several parts, the
// micro-batches of a shard are a multiple of the stages.
std::vector<StageAction> pipeline_schedule(const StageWork& work);

// Micro-batches that have gone forward through each part and not yet backward, at most.
std::vector<int64_t> most_in_flight(const std::vector<StageAction>& actions, int64_t parts);

}  // namespace fern
