#include "framework/train/stage_schedule.h"

#include <algorithm>

namespace fern {

int64_t most_in_flight(int64_t stage, int64_t stages, int64_t micro_batches) {
  return std::min(stages - stage, micro_batches);
}

std::vector<StageAction> one_forward_one_backward(int64_t stage, int64_t stages, int64_t micro_batches,
                                                  int64_t micro_batches_a_shard) {
  using Kind = StageAction::Kind;
  std::vector<StageAction> actions;
  const int64_t ahead = most_in_flight(stage, stages, micro_batches) - 1;
  const bool is_last = stage + 1 == stages;
  for (int64_t m = 0; m < ahead; ++m) actions.push_back({Kind::kForward, m});
  for (int64_t m = 0; m < micro_batches; ++m) {
    const int64_t shard = m / micro_batches_a_shard;
    const bool begins = m % micro_batches_a_shard == 0, ends = (m + 1) % micro_batches_a_shard == 0;
    if (begins && is_last) actions.push_back({Kind::kBeginShard, shard});
    if (m + ahead < micro_batches) actions.push_back({Kind::kForward, m + ahead});
    if (begins && !is_last) actions.push_back({Kind::kBeginShard, shard});
    actions.push_back({Kind::kBackward, m});
    if (ends) actions.push_back({Kind::kEndShard, shard});
  }
  return actions;
}

}  // namespace fern
