#include "parallel/rank_values.h"

#include <thread>

#include "parallel/bucket_layers.h"

namespace fern {

namespace {

std::span<float> part(const Tensor& flat, Slice slice) {
  return flat.values<float>().subspan(static_cast<size_t>(slice.begin),
                                      static_cast<size_t>(slice.elements()));
}

}  // namespace

Slice fetched_elements(const Parameters& parameters, ParameterRun run) {
  const Parameter& first = parameters.list()[static_cast<size_t>(run.first)];
  const Parameter& last = parameters.list()[static_cast<size_t>(run.first + run.count - 1)];
  const int64_t end = last.offset + last.elements();
  return {first.offset / kParameterChunk * kParameterChunk,
          (end + kParameterChunk - 1) / kParameterChunk * kParameterChunk};
}

int64_t fetch_bytes(const ReductionPlan& plan, Slice elements) {
  return (plan.ranks - 1) * intersection(elements, plan.slice()).elements() *
         static_cast<int64_t>(sizeof(float));
}

void RankValues::fetch(ParameterRun run) {
  const ReductionPlan& plan = reducer_.plan();
  const Slice all = fetched_elements(parameters_, run), own = intersection(all, plan.slice());
  // Each starts with its neighbour, so that not all send to the same rank at once.
  for (int step = 1; step < plan.ranks; ++step) {
    const int to = (plan.rank + step) % plan.ranks, from = (plan.rank + plan.ranks - step) % plan.ranks;
    incoming_.push_back(
        {from, part(parameters_.values(), intersection(all, plan.slices[static_cast<size_t>(from)]))});
    outgoing_.push_back({to, part(parameters_.values(), own)});
  }
  const LayerRange layers = layers_in(all, parameters_.list());
  communicator_.start_exchange({.lane = kValuesLane,
                                .bytes = all.elements() * static_cast<int64_t>(sizeof(float)),
                                .index = run.first,
                                .cargo = Cargo::kValues,
                                .first_layer = layers.first,
                                .last_layer = layers.last},
                               incoming_, outgoing_);
  incoming_.clear();
  outgoing_.clear();
  sent_bytes_ += fetch_bytes(plan, all);
  // Where ranks are more than the cores, another needs this one.
  for (reducer_.progress(); !communicator_.exchange_done(kValuesLane); reducer_.progress())
    std::this_thread::yield();
}

void RankValues::let_go(ParameterRun run) { parameters_.release_values(fetched_elements(parameters_, run)); }

}  // namespace fern
