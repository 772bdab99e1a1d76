// The gradient seam where not all parameters of a rank are held by the same ranks (shared_region.h): a
// reducer for each region.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "parallel/data_reducer.h"
#include "parallel/shared_region.h"

namespace fern {

class RegionReducer final : public GradReducer {
 public:
  // In the order of their regions, which go on where those before end; one at least. REQUIRES: of the same
  // shards, one after the other.
  explicit RegionReducer(std::vector<std::unique_ptr<DataReducer>> reducers)
      : reducers_(std::move(reducers)) {}
  void add(const Parameter& parameter) override;
  int64_t shards() const override { return reducers_.front()->shards(); }
  int64_t shard(int64_t i) const override { return reducers_.front()->shard(i); }
  void begin_shard() override;
  void begin_last_micro_batch() override;
  void end_shard() override;
  void finish() override;
  Slices slices() const override;
  Slices counted() const override;
  void gather_values() override;
  void gather_everywhere(std::span<float> whole, std::span<const float> slices) override;
  Slices slices_of(const Parameters& parameters) const override;
  void set_layout(const Parameters& parameters) override;
  int64_t sent_bytes() const override;

 private:
  std::vector<std::unique_ptr<DataReducer>> reducers_;
};

}  // namespace fern
