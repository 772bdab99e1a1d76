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
  if (!plan.fetches) return 0;
  return (plan.ranks - 1) * intersection(elements, plan.slice()).elements() *
         static_cast<int64_t>(sizeof(float));
}

DataReducer& RankValues::reducer_at(int64_t element) const {
  size_t i = reducers_.size() - 1;
  while (i > 0 && element < reducers_[i]->begin()) --i;
  return *reducers_[i];
}

void RankValues::fetch(ParameterRun run) {
  const Slice all = fetched_elements(parameters_, run);
  DataReducer& reducer = reducer_at(all.begin);
  const ReductionPlan& plan = reducer.plan();
  if (!plan.fetches) return;
  const int64_t begin = reducer.begin();
  const auto kept_by = [&](int rank) {
    const Slice slice = plan.slices[static_cast<size_t>(rank)];
    return part(parameters_.values(), intersection(all, {begin + slice.begin, begin + slice.end}));
  };
  // Each starts with its neighbour, so that not all send to the same rank at once.
  for (int step = 1; step < plan.ranks; ++step) {
    const int to = (plan.rank + step) % plan.ranks, from = (plan.rank + plan.ranks - step) % plan.ranks;
    incoming_.push_back({from, kept_by(from)});
    outgoing_.push_back({to, kept_by(plan.rank)});
  }
  const LayerRange layers = layers_in(all, parameters_.list());
  Communicator& communicator = reducer.communicator();
  communicator.start_exchange({.lane = kValuesLane,
                               .bytes = all.elements() * static_cast<int64_t>(sizeof(float)),
                               .index = run.first,
                               .cargo = Cargo::kValues,
                               .first_layer = layers.first,
                               .last_layer = layers.last},
                              incoming_, outgoing_);
  incoming_.clear();
  outgoing_.clear();
  sent_bytes_ += fetch_bytes(plan, {all.begin - begin, all.end - begin});
  // Where ranks are more than the cores, another needs this one.
  const auto progress = [&] {
    for (DataReducer* each : reducers_) each->progress();
  };
  for (progress(); !communicator.exchange_done(kValuesLane); progress()) std::this_thread::yield();
}

void RankValues::let_go(ParameterRun run) { parameters_.release_values(fetched_elements(parameters_, run)); }

}  // namespace fern
