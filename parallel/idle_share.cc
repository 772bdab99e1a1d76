#include "parallel/idle_share.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "framework/core/error.h"
#include "framework/train/stage_schedule.h"
#include "parallel/layer_split.h"

namespace fern {

namespace {

using Kind = StageAction::Kind;

// All stages at work; times are in FLOPs of a token.
class Play {
 public:
  Play(const ModelConfig& config, const Mesh& mesh, int64_t micro_batches, int64_t micro_batches_a_shard)
      : stages_(mesh.pipeline), micro_batches_(micro_batches), tied_(config.tie_embeddings) {
    for (const ModelPart& part : split_layers(config, mesh.pipeline * mesh.virtual_stages))
      flops_.push_back(flops_of_part(config, part));
    for (int64_t stage = 0; stage < stages_; ++stage)
      actions_.push_back(pipeline_schedule({.stage = stage,
                                            .stages = stages_,
                                            .parts = mesh.virtual_stages,
                                            .micro_batches = micro_batches,
                                            .micro_batches_a_shard = micro_batches_a_shard}));
    forward_ends_.resize(flops_.size() * static_cast<size_t>(micro_batches));
    backward_ends_ = forward_ends_;
    next_.resize(actions_.size());
    now_.resize(actions_.size());
  }
  // When the last stage to end does.
  double duration() {
    const auto is_done = [&](size_t stage) { return next_[stage] == actions_[stage].size(); };
    for (bool moves = true; moves;) {
      moves = false;
      for (size_t stage = 0; stage < actions_.size(); ++stage)
        for (; !is_done(stage) && act(stage); ++next_[stage]) moves = true;
    }
    for (size_t stage = 0; stage < actions_.size(); ++stage)
      expect(is_done(stage), "[idle share] stage {} waits for ever", stage);
    return *std::ranges::max_element(now_);
  }
  double work() const {
    return static_cast<double>(micro_batches_) * std::accumulate(flops_.begin(), flops_.end(), 0.0);
  }

 private:
  using End = std::optional<double>;  // of a pass; none: it has not been

  End& end(std::vector<End>& ends, int64_t part, int64_t micro) {
    return ends[static_cast<size_t>(part * micro_batches_ + micro)];
  }
  // What the action waits for.
  End ready(const StageAction& action, int64_t part) {
    const bool is_last = part + 1 == std::ssize(flops_);
    if (action.kind == Kind::kForward && part > 0) return end(forward_ends_, part - 1, action.index);
    if (action.kind == Kind::kBackward && !is_last) return end(backward_ends_, part + 1, action.index);
    if (action.kind == Kind::kEmbedded && tied_) return end(backward_ends_, 0, action.index);
    return 0.0;
  }
  // The stage's next action; false where it cannot begin yet.
  bool act(size_t stage) {
    const StageAction& action = actions_[stage][next_[stage]];
    const int64_t part = action.part * stages_ + static_cast<int64_t>(stage);  // in the order of the model
    const End begin = ready(action, part);
    if (!begin) return false;
    double& now = now_[stage];
    now = std::max(now, *begin);
    const double flops = flops_[static_cast<size_t>(part)];
    if (action.kind == Kind::kForward) end(forward_ends_, part, action.index) = now += flops / 3;
    if (action.kind == Kind::kBackward) end(backward_ends_, part, action.index) = now += flops * 2 / 3;
    return true;
  }

  int64_t stages_, micro_batches_;
  bool tied_;
  std::vector<double> flops_;                      // by part
  std::vector<std::vector<StageAction>> actions_;  // by stage
  std::vector<End> forward_ends_, backward_ends_;  // by part and micro-batch
  std::vector<size_t> next_;                       // by stage: of its actions
  std::vector<double> now_;                        // by stage
};

}  // namespace

double idle_share(const ModelConfig& config, const Mesh& mesh, int64_t micro_batches,
                  int64_t micro_batches_a_shard) {
  Play play(config, mesh, micro_batches, micro_batches_a_shard);
  return 1 - play.work() / (static_cast<double>(mesh.pipeline) * play.duration());
}

}  // namespace fern
