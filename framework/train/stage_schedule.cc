#include "framework/train/stage_schedule.h"

#include <algorithm>

#include "framework/core/error.h"

namespace fern {

namespace {

using Kind = StageAction::Kind;

// A micro-batch on its way through one part.
struct Turn {
  int64_t micro = 0, part = 0;
};

// The k-th forward pass of a stage: groups of as many micro-batches as there are stages, part by part.
Turn forward_turn(const StageWork& work, int64_t k) {
  const int64_t group = k / (work.stages * work.parts), in_group = k % (work.stages * work.parts);
  return {group * work.stages + in_group % work.stages, in_group / work.stages};
}

Turn backward_turn(const StageWork& work, int64_t k) {
  const Turn turn = forward_turn(work, k);
  return {turn.micro, work.parts - 1 - turn.part};
}

// Forward passes before the one that the first backward pass comes right after.
int64_t passes_ahead(const StageWork& work) {
  const int64_t after = work.stages - work.stage - 1;
  return work.parts == 1 ? after : (work.parts - 1) * work.stages + 2 * after;
}

}  // namespace

std::vector<StageAction> pipeline_schedule(const StageWork& work) {
  expect(
      work.parts == 1 || work.micro_batches_a_shard % work.stages == 0,
      "[schedule] expected shards of a multiple of {} micro-batches, for as many stages of {} parts, got {}",
      work.stages, work.parts, work.micro_batches_a_shard);
  const int64_t passes = work.micro_batches * work.parts, a_shard = work.micro_batches_a_shard * work.parts;
  const int64_t ahead = std::min(passes_ahead(work), passes);
  const bool is_last = work.stage + 1 == work.stages, takes_embedded = is_last && work.stages > 1;
  std::vector<StageAction> actions;
  const auto forward = [&](int64_t k) {
    const Turn turn = forward_turn(work, k);
    if (k < passes) actions.push_back({Kind::kForward, turn.micro, turn.part});
  };
  int64_t embedded = 0;
  const auto take_embedded = [&](int64_t end) {
    for (; takes_embedded && embedded < end; ++embedded) actions.push_back({Kind::kEmbedded, embedded});
  };
  for (int64_t k = 0; k < ahead; ++k) forward(k);
  for (int64_t k = 0; k < passes; ++k) {
    const int64_t shard = k / a_shard;
    const bool begins = k % a_shard == 0, ends = (k + 1) % a_shard == 0;
    if (begins && is_last) actions.push_back({Kind::kBeginShard, shard});
    forward(k + ahead);
    if (begins && !is_last) actions.push_back({Kind::kBeginShard, shard});
    const Turn turn = backward_turn(work, k);
    actions.push_back({Kind::kBackward, turn.micro, turn.part});
    // What has come to the first stage by now.
    const int64_t there = k - work.stages;
    if (there >= shard * a_shard && backward_turn(work, there).part == 0)
      take_embedded(backward_turn(work, there).micro + 1);
    if (ends) take_embedded((shard + 1) * work.micro_batches_a_shard);
    if (ends) actions.push_back({Kind::kEndShard, shard});
  }
  return actions;
}

std::vector<int64_t> most_in_flight(const std::vector<StageAction>& actions, int64_t parts) {
  std::vector<int64_t> now(static_cast<size_t>(parts)), most = now;
  for (const StageAction& action : actions) {
    const auto part = static_cast<size_t>(action.part);
    if (action.kind == Kind::kForward) most[part] = std::max(most[part], ++now[part]);
    if (action.kind == Kind::kBackward) --now[part];
  }
  return most;
}

}  // namespace fern
