// The seams' one-process versions: shards are summed in the same tree, and nothing is exchanged.
#pragma once

#include <cstdint>
#include <span>

#include "framework/core/arena.h"
#include "framework/model/parameters.h"
#include "framework/train/reducers.h"
#include "framework/train/shard_sum.h"

namespace fern {

class SoloReducer final : public GradReducer {
 public:
  // Takes its buffers from `arena` (which may be measuring). REQUIRES: `gradients` allocated (or measuring
  // too), f32, flat, and alive as long as this; shards >= 1.
  SoloReducer(const Tensor& gradients, int64_t shards, Arena& arena);
  SoloReducer(const Parameters& parameters, int64_t shards, Arena& arena)
      : SoloReducer(parameters.gradients(), shards, arena) {}
  void add(const Parameter&) override {}
  int64_t shards() const override { return sum_.shards(); }
  int64_t shard(int64_t i) const override { return i; }
  void begin_shard() override { sum_.begin_shard(); }
  void begin_last_micro_batch() override {}
  void end_shard() override { sum_.end_shard(); }
  void finish() override { sum_.expect_complete(); }
  Slices slices() const override { return whole_; }
  Slices counted() const override { return whole_; }
  void gather_values() override {}
  void gather_everywhere(std::span<float> whole, std::span<const float> slices) override;
  Slices slices_of(const Parameters& parameters) const override { return {0, parameters.padded_elements()}; }
  void set_layout(const Parameters& parameters) override;
  int64_t sent_bytes() const override { return 0; }

 private:
  ShardSum sum_;
  Slice whole_;
};

class SoloScalars final : public ScalarReducer {
 public:
  void sum(std::span<double>) override {}
  bool any(bool value) override { return value; }
  void barrier() override {}
};

}  // namespace fern
