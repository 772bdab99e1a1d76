#include "parallel/expert_reducer.h"

#include <algorithm>

#include "framework/core/error.h"
#include "framework/train/solo_reducer.h"

namespace fern {

namespace {

Tensor cut(const Tensor& flat, int64_t begin, int64_t end) {
  if (!flat.empty()) return flat.rows(begin, end);
  return Tensor(nullptr, flat.dtype(), {end - begin}, flat.device());
}

ReductionPlan plan_of_common(const ParameterRegion& region, const Mesh& mesh, int64_t shards, int64_t data) {
  return plan_reduction(region.gradients.elements(), shards, static_cast<int>(data),
                        static_cast<int>(mesh.data), 0);
}

ReductionPlan plan_of_experts(const ParameterRegion& region, const Mesh& mesh, int64_t shards, int64_t data) {
  return plan_reduction(region.gradients.elements(), shards / mesh.expert,
                        static_cast<int>(replica_index(mesh, data)), static_cast<int>(mesh.expert_replicas()),
                        0);
}

std::unique_ptr<GradReducer> make_experts(const ParameterRegion& region, const Mesh& mesh, int64_t data,
                                          int64_t shards, Communicator* replicas, Arena& arena) {
  if (replicas == nullptr)
    return std::make_unique<SoloReducer>(region.gradients, shards / mesh.expert, arena);
  return std::make_unique<DataReducer>(region, plan_of_experts(region, mesh, shards, data), *replicas, arena);
}

// Every expert is counted by the last rank that holds it; the rest by the ranks before, or the first.
Slice part_counted(const Mesh& mesh, int64_t data, int64_t begin_of_experts, int64_t end) {
  const int64_t others = mesh.data - mesh.expert, chunks = begin_of_experts / kParameterChunk;
  if (data >= others) return {others == 0 && data == 0 ? 0 : begin_of_experts, end};
  return {chunks * data / others * kParameterChunk, chunks * (data + 1) / others * kParameterChunk};
}

}  // namespace

ExpertRegions regions_of(const Parameters& parameters) {
  const std::span<const Parameter> list = parameters.list();
  const size_t first = parameters.own_experts();
  const int64_t end = parameters.padded_elements(), begin = first < list.size() ? list[first].offset : end;
  return {.common = {list.first(first), cut(parameters.values(), 0, begin),
                     cut(parameters.gradients(), 0, begin)},
          .experts = {list.subspan(first), cut(parameters.values(), begin, end),
                      cut(parameters.gradients(), begin, end)}};
}

ExpertReducer::ExpertReducer(const Parameters& parameters, const Mesh& mesh, int64_t data, int64_t shards,
                             Communicator& all, Communicator* replicas, Arena& arena)
    : ExpertReducer(regions_of(parameters), mesh, data, shards, all, replicas, arena) {}

ExpertReducer::ExpertReducer(const ExpertRegions& regions, const Mesh& mesh, int64_t data, int64_t shards,
                             Communicator& all, Communicator* replicas, Arena& arena)
    : begin_of_experts_(regions.common.gradients.elements()),
      end_(begin_of_experts_ + regions.experts.gradients.elements()),
      counted_(part_counted(mesh, data, begin_of_experts_, end_)),
      common_(regions.common, plan_of_common(regions.common, mesh, shards, data), all, arena),
      experts_(make_experts(regions.experts, mesh, data, shards, replicas, arena)) {}

void ExpertReducer::add(const Parameter& parameter) {
  if (parameter.offset < begin_of_experts_)
    common_.add(parameter);
  else
    experts_->add(parameter);
}

void ExpertReducer::begin_shard() {
  common_.begin_shard();
  experts_->begin_shard();
}

void ExpertReducer::begin_last_micro_batch() {
  common_.begin_last_micro_batch();
  experts_->begin_last_micro_batch();
}

void ExpertReducer::end_shard() {
  common_.end_shard();
  experts_->end_shard();
}

void ExpertReducer::finish() {
  common_.finish();
  experts_->finish();
}

void ExpertReducer::gather_everywhere(std::span<float> whole, std::span<const float> slice) {
  std::ranges::copy(slice, whole.begin());
}

void ExpertReducer::set_layout(const Parameters&) {
  fail("[expert reducer] expected patterns that stay, since ranks share the experts");
}

int64_t expert_reducer_sent_bytes(const Parameters& parameters, const Mesh& mesh, int64_t shards,
                                  int64_t data) {
  const ExpertRegions regions = regions_of(parameters);
  const int64_t common = sent_bytes_of_step(plan_of_common(regions.common, mesh, shards, data));
  if (mesh.expert_replicas() == 1) return common;
  return common + sent_bytes_of_step(plan_of_experts(regions.experts, mesh, shards, data));
}

}  // namespace fern
