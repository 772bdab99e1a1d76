#include "framework/train/stage_schedule.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <numeric>
#include <string>
#include <tuple>

#include "framework/core/error.h"

namespace fern {
namespace {

using Kind = StageAction::Kind;

std::string text_of(const StageWork& work) {
  std::string text;
  for (const auto& [kind, index, part] : pipeline_schedule(work)) {
    const char sign = kind == Kind::kBeginShard ? '['
                      : kind == Kind::kForward  ? 'F'
                      : kind == Kind::kBackward ? 'B'
                      : kind == Kind::kEmbedded ? 'E'
                                                : ']';
    const bool is_pass = kind == Kind::kForward || kind == Kind::kBackward;
    text += fmt::format("{}{}{}{}", text.empty() ? "" : " ", sign, index,
                        work.parts > 1 && is_pass ? fmt::format(".{}", part) : "");
  }
  return text;
}

StageWork work(int64_t stage, int64_t stages, int64_t micro_batches, int64_t a_shard, int64_t parts = 1) {
  return {.stage = stage,
          .stages = stages,
          .parts = parts,
          .micro_batches = micro_batches,
          .micro_batches_a_shard = a_shard};
}

TEST(Schedule, OneStageAlternates) {
  EXPECT_EQ(text_of(work(0, 1, 4, 2)), "[0 F0 B0 F1 B1 ]0 [1 F2 B2 F3 B3 ]1");
}

TEST(Schedule, EarlierStagesGoAheadByTheStagesAfterThem) {
  EXPECT_EQ(text_of(work(0, 3, 4, 2)), "F0 F1 F2 [0 B0 F3 B1 ]0 [1 B2 B3 ]1");
  EXPECT_EQ(text_of(work(1, 3, 4, 2)), "F0 F1 [0 B0 F2 B1 ]0 F3 [1 B2 B3 ]1");
  EXPECT_EQ(text_of(work(2, 3, 4, 2)), "[0 F0 B0 F1 B1 E0 E1 ]0 [1 F2 B2 F3 B3 E2 E3 ]1");
}

TEST(Schedule, EmbeddedInputsAreTakenWhenTheFirstStageHasThem) {
  EXPECT_EQ(text_of(work(1, 2, 4, 4)), "[0 F0 B0 F1 B1 F2 B2 E0 F3 B3 E1 E2 E3 ]0");
}

TEST(Schedule, FewMicroBatchesDoNotFillThePipeline) {
  EXPECT_EQ(text_of(work(0, 4, 2, 1)), "F0 F1 [0 B0 ]0 [1 B1 ]1");
  EXPECT_EQ(most_in_flight(pipeline_schedule(work(0, 4, 2, 1)), 1), std::vector<int64_t>{2});
  EXPECT_EQ(most_in_flight(pipeline_schedule(work(2, 4, 8, 1)), 1), std::vector<int64_t>{2});
}

// The order of Megatron-LM's interleaved schedule.
TEST(Schedule, SeveralPartsTakeGroupsOfMicroBatchesInTurn) {
  EXPECT_EQ(text_of(work(0, 2, 4, 2, 2)),
            "F0.0 F1.0 F0.1 F1.1 F2.0 [0 B0.1 F3.0 B1.1 F2.1 B0.0 F3.1 B1.0 ]0 [1 B2.1 B3.1 B2.0 B3.0 ]1");
  EXPECT_EQ(text_of(work(1, 2, 4, 2, 2)),
            "F0.0 F1.0 [0 F0.1 B0.1 F1.1 B1.1 F2.0 B0.0 F3.0 B1.0 E0 E1 ]0 "
            "[1 F2.1 B2.1 F3.1 B3.1 B2.0 B3.0 E2 E3 ]1");
  EXPECT_EQ(most_in_flight(pipeline_schedule(work(0, 2, 4, 2, 2)), 2), (std::vector<int64_t>{4, 2}));
  EXPECT_EQ(most_in_flight(pipeline_schedule(work(1, 2, 4, 2, 2)), 2), (std::vector<int64_t>{3, 1}));
}

TEST(Schedule, ShardsThatCutAGroupAreRefused) {
  EXPECT_THROW(pipeline_schedule(work(0, 2, 6, 3, 2)), Error);
  EXPECT_NO_THROW(pipeline_schedule(work(0, 2, 6, 3)));
}

// Calls test(work of stage 0) for schedules of many shapes.
template <typename Test>
void for_each_shape(const Test& test) {
  for (int64_t stages = 1; stages <= 5; ++stages)
    for (int64_t parts = 1; parts <= (stages > 1 ? 4 : 1); ++parts)
      for (int64_t in_shard = 1; in_shard <= 7; ++in_shard)
        for (int64_t shards = 1; shards <= 3; ++shards) {
          const int64_t a_shard = parts > 1 ? in_shard * stages : in_shard;
          SCOPED_TRACE(fmt::format("{} stages of {} parts, {} shards of {} micro-batches", stages, parts,
                                   shards, a_shard));
          test(work(0, stages, shards * a_shard, a_shard, parts));
        }
}

// What gradients are summed in the same order for.
TEST(Schedule, PassesAreInOrderShardByShard) {
  for_each_shape([](StageWork shape) {
    for (; shape.stage < shape.stages; ++shape.stage) {
      const bool is_last = shape.stage + 1 == shape.stages;
      std::vector<int64_t> forward(static_cast<size_t>(shape.parts)), backward = forward;
      int64_t shard = -1, ended = -1, embedded = 0;
      const std::vector<StageAction> actions = pipeline_schedule(shape);
      for (size_t i = 0; i < actions.size(); ++i) {
        const auto& [kind, index, part] = actions[i];
        const auto p = static_cast<size_t>(part);
        if (kind == Kind::kBeginShard) {
          ASSERT_EQ(index, ++shard);
        }
        if (kind == Kind::kEndShard) {
          ASSERT_EQ(index, ++ended);
        }
        if (kind == Kind::kForward) {
          ASSERT_EQ(index, forward[p]++);
        }
        if (kind == Kind::kEmbedded) {
          ASSERT_EQ(index, embedded++);
        }
        if (kind == Kind::kBackward) {
          ASSERT_EQ(index, backward[p]++);
          ASSERT_LT(index, forward[p]);
        }
        const bool adds = kind == Kind::kBackward || kind == Kind::kEmbedded ||
                          (kind == Kind::kForward && is_last && part + 1 == shape.parts);
        if (adds) {
          ASSERT_EQ(index / shape.micro_batches_a_shard, shard);
          ASSERT_LT(ended, shard);
        }
        if (adds && kind == Kind::kForward) {
          ASSERT_EQ(actions[i + 1], (StageAction{Kind::kBackward, index, part}));
        }
      }
      EXPECT_EQ(forward, std::vector<int64_t>(forward.size(), shape.micro_batches));
      EXPECT_EQ(backward, forward);
      EXPECT_EQ(embedded, is_last && shape.stages > 1 ? shape.micro_batches : 0);
      EXPECT_EQ(ended + 1, shape.micro_batches / shape.micro_batches_a_shard);
    }
  });
}

// Tensors from one stage to another: one that has come, and one on its way (parallel/rank_link.h).
class Channel {
 public:
  bool is_full() const { return tensors_.size() == 2; }
  bool is_empty() const { return tensors_.empty(); }
  void send(int64_t micro, int64_t part) { tensors_.emplace_back(micro, part); }
  void expect_next(int64_t micro, int64_t part) {
    EXPECT_EQ(tensors_.front(), std::pair(micro, part)) << "another tensor comes than is waited for";
    tensors_.pop_front();
  }

 private:
  std::deque<std::pair<int64_t, int64_t>> tensors_;
};

// All stages at their schedules, each as soon as it can.
class Stages {
 public:
  // With `meet` none begins what comes after a shard before all have ended it: data ranks wait so.
  Stages(const StageWork& shape, bool meet)
      : count_(shape.stages), last_part_(shape.stages * shape.parts - 1), meet_(meet) {
    StageWork own = shape;
    for (; own.stage < own.stages; ++own.stage) actions_.push_back(pipeline_schedule(own));
    next_.resize(actions_.size());
    has_computed_.resize(actions_.size());
    ended_.resize(actions_.size());
    activations_.resize(actions_.size());
    gradients_.resize(actions_.size());
  }
  // False when they wait for each other for ever.
  bool play() {
    for (bool moves = true; moves;) {
      moves = false;
      for (size_t stage = 0; stage < actions_.size(); ++stage)
        while (next_[stage] < actions_[stage].size() && act(stage)) moves = true;
    }
    for (size_t stage = 0; stage < actions_.size(); ++stage)
      if (next_[stage] < actions_[stage].size()) return false;
    return true;
  }

 private:
  bool act(size_t stage) {
    const StageAction& action = actions_[stage][next_[stage]];
    const size_t before = (stage + actions_.size() - 1) % actions_.size(),
                 after = (stage + 1) % actions_.size();
    const int64_t part = action.part * count_ + static_cast<int64_t>(stage);  // in the order of the model
    if (action.kind == Kind::kForward)
      return pass(stage, part > 0 ? &activations_[before] : nullptr,
                  part < last_part_ ? &activations_[stage] : nullptr, part + 1);
    if (action.kind == Kind::kBackward)
      return pass(stage, part < last_part_ ? &gradients_[after] : nullptr,
                  part > 0     ? &gradients_[stage]
                  : count_ > 1 ? &embedded_
                               : nullptr,
                  part - 1);
    if (action.kind == Kind::kEmbedded) {
      if (embedded_.is_empty()) return false;
      embedded_.expect_next(action.index, -1);
    }
    if (action.kind == Kind::kEndShard) {
      ended_[stage] = action.index + 1;
      if (meet_ && *std::ranges::min_element(ended_) < ended_[stage]) return false;
    }
    ++next_[stage];
    return true;
  }
  // Receives, then sends: two moves, between which the stage may have to wait.
  bool pass(size_t stage, Channel* from, Channel* to, int64_t to_part) {
    const StageAction& action = actions_[stage][next_[stage]];
    if (!has_computed_[stage]) {
      if (from != nullptr && from->is_empty()) return false;
      if (from != nullptr)
        from->expect_next(action.index, action.part * count_ + static_cast<int64_t>(stage));
      has_computed_[stage] = true;
    }
    if (to != nullptr && to->is_full()) return false;
    if (to != nullptr) to->send(action.index, to_part);
    has_computed_[stage] = false;
    ++next_[stage];
    return true;
  }

  int64_t count_, last_part_;
  bool meet_;
  std::vector<std::vector<StageAction>> actions_;
  std::vector<size_t> next_;
  std::vector<bool> has_computed_;
  std::vector<int64_t> ended_;                    // shards, by stage
  std::vector<Channel> activations_, gradients_;  // from each stage on, and back
  Channel embedded_;
};

TEST(Schedule, StagesNeverWaitForEachOtherForEver) {
  for_each_shape([](const StageWork& shape) {
    EXPECT_TRUE(Stages(shape, false).play());
    EXPECT_TRUE(Stages(shape, true).play());
  });
}

}  // namespace
}  // namespace fern
