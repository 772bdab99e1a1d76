#include "parallel/shared_region.h"

namespace fern {

namespace {

Tensor cut(const Tensor& flat, int64_t begin, int64_t end) {
  if (!flat.empty()) return flat.rows(begin, end);
  return Tensor(nullptr, flat.dtype(), {end - begin}, flat.device());
}

}  // namespace

Region whole_region(const Parameters& parameters) {
  return {.begin = 0,
          .end = parameters.padded_elements(),
          .own_experts = false,
          .list = parameters.list(),
          .values = parameters.values(),
          .gradients = parameters.gradients()};
}

std::vector<Region> regions_of(const Parameters& parameters) {
  const std::span<const Parameter> list = parameters.list();
  const size_t first = parameters.own_experts();
  if (first == list.size()) return {whole_region(parameters)};
  const int64_t begin = parameters.own_experts_begin(), end = parameters.padded_elements();
  return {{.begin = 0,
           .end = begin,
           .own_experts = false,
           .list = list.first(first),
           .values = cut(parameters.values(), 0, begin),
           .gradients = cut(parameters.gradients(), 0, begin)},
          {.begin = begin,
           .end = end,
           .own_experts = true,
           .list = list.subspan(first),
           .values = cut(parameters.values(), begin, end),
           .gradients = cut(parameters.gradients(), begin, end)}};
}

std::vector<Region> regions_of(const Tensor& gradients, int64_t experts_begin) {
  std::vector<Region> regions;
  for (const bool own_experts : {false, true}) {
    const int64_t begin = own_experts ? experts_begin : 0,
                  end = own_experts ? gradients.elements() : experts_begin;
    if (begin == end) continue;
    regions.push_back({.begin = begin,
                       .end = end,
                       .own_experts = own_experts,
                       .list = {},
                       .values = {},
                       .gradients = cut(gradients, begin, end)});
  }
  return regions;
}

// An expert's shard is what the ranks that share the experts take together.
ReductionPlan plan_of(const Region& region, const Mesh& mesh, int64_t shards, int64_t replica,
                      int64_t largest_bucket) {
  const int64_t runs = mesh.context * mesh.expert;
  if (!region.own_experts)
    return plan_reduction(region.elements(), shards * mesh.context, static_cast<int>(replica),
                          static_cast<int>(mesh.replicas()), mesh.zero, largest_bucket, runs);
  const int64_t number = expert_replica_index(mesh, place_of_replica(mesh, replica));
  return plan_reduction(region.elements(), shards * mesh.context / mesh.expert, static_cast<int>(number),
                        static_cast<int>(mesh.expert_replicas()), mesh.zero, largest_bucket, mesh.context);
}

}  // namespace fern
