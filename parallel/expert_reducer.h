// The gradient seam where data ranks share experts. An expert's gradient already holds what the micro-batches
// of all ranks that share its layer's experts add to it; so it is summed further over those ranks alone that
// hold the same experts, as one shard of theirs for each round of shards. All other gradients are summed over
// all data ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "framework/core/arena.h"
#include "framework/model/parameters.h"
#include "framework/train/reducers.h"
#include "parallel/data_reducer.h"
#include "parallel/mesh.h"

namespace fern {

// The parameters that all data ranks hold, and a rank's own experts: parts of the flat buffers, one after the
// other.
struct ExpertRegions {
  ParameterRegion common, experts;
};
ExpertRegions regions_of(const Parameters& parameters);

class ExpertReducer final : public GradReducer {
 public:
  // Of data rank `data` of the mesh. Borrows the communicators of all data ranks, and of those that hold the
  // same experts (null: none but this). Takes its buffers from `arena`, which may be measuring. REQUIRES: as
  // parallelize(); the parameters have own experts; mesh.zero is 0.
  ExpertReducer(const Parameters& parameters, const Mesh& mesh, int64_t data, int64_t shards,
                Communicator& all, Communicator* replicas, Arena& arena);
  void add(const Parameter& parameter) override;
  int64_t shards() const override { return common_.shards(); }
  int64_t shard(int64_t i) const override { return common_.shard(i); }
  void begin_shard() override;
  void begin_last_micro_batch() override;
  void end_shard() override;
  void finish() override;
  Slice slice() const override { return {0, end_}; }
  Slice counted() const override { return counted_; }
  void gather_values() override {}
  void gather_everywhere(std::span<float> whole, std::span<const float> slice) override;
  Slice slice_of(int64_t padded_elements) const override { return {0, padded_elements}; }
  void set_layout(const Parameters& parameters) override;
  int64_t sent_bytes() const override { return common_.sent_bytes() + experts_->sent_bytes(); }

 private:
  ExpertReducer(const ExpertRegions& regions, const Mesh& mesh, int64_t data, int64_t shards,
                Communicator& all, Communicator* replicas, Arena& arena);

  int64_t begin_of_experts_, end_;
  Slice counted_;
  DataReducer common_;
  std::unique_ptr<GradReducer> experts_;
};

// What a data rank sends in a step.
int64_t expert_reducer_sent_bytes(const Parameters& parameters, const Mesh& mesh, int64_t shards,
                                  int64_t data);

}  // namespace fern
