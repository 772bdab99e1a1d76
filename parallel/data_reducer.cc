#include "parallel/data_reducer.h"

#include <algorithm>
#include <utility>

#include "framework/core/error.h"

namespace fern {

namespace {

template <typename T>
std::span<T> part(std::span<T> whole, Slice slice) {
  return whole.subspan(static_cast<size_t>(slice.begin), static_cast<size_t>(slice.elements()));
}

}  // namespace

DataReducer::DataReducer(const Parameters& parameters, ReductionPlan plan, Communicator& communicator,
                         Arena& arena)
    : plan_(std::move(plan)),
      communicator_(communicator),
      sum_(parameters.gradients(), plan_.rank * plan_.share(), (plan_.rank + 1) * plan_.share(), plan_.shards,
           arena),
      values_(parameters.values()),
      gradients_(parameters.gradients()) {
  for (const Slice& slice : plan_.slices) counts_.push_back(slice.elements());
  for (Tensor& arrivals : arrivals_)
    arrivals = arena.allocate(DType::kF32, {plan_.foreign_nodes(), plan_.piece});
}

void DataReducer::start_piece(int64_t i) {
  const Slice own = plan_.piece_of(plan_.rank, i);
  std::vector<float*>& sources = sources_[static_cast<size_t>(i % 2)];
  float* arrival = arrivals_[static_cast<size_t>(i % 2)].as<float>();
  sources.clear();
  incoming_.clear();
  outgoing_.clear();
  for (int rank = 0; rank < plan_.ranks; ++rank) {
    const size_t nodes = plan_.nodes[static_cast<size_t>(rank)].size();
    for (size_t node = 0; node < nodes; ++node) {
      if (rank == plan_.rank) {
        sources.push_back(sum_.values(node).data() + own.begin);
        continue;
      }
      sources.push_back(arrival);
      incoming_.push_back({rank, {arrival, static_cast<size_t>(own.elements())}});
      arrival += plan_.piece;
    }
  }
  // Each starts with its neighbour, so that not all send to the same rank at once.
  for (int step = 1; step < plan_.ranks; ++step) {
    const int rank = (plan_.rank + step) % plan_.ranks;
    for (size_t node = 0; node < sum_.nodes().size(); ++node)
      outgoing_.push_back({rank, part(sum_.values(node), plan_.piece_of(rank, i))});
  }
  communicator_.start_exchange(incoming_, outgoing_);
}

void DataReducer::finish_piece(int64_t i) {
  communicator_.finish_exchange();
  sum_to_root(part(gradients_.values<float>(), plan_.piece_of(plan_.rank, i)),
              sources_[static_cast<size_t>(i % 2)], plan_.joins);
}

void DataReducer::finish() {
  sum_.expect_complete();
  if (plan_.pieces > 0) start_piece(0);
  for (int64_t i = 0; i < plan_.pieces; ++i) {
    if (i + 1 < plan_.pieces) start_piece(i + 1);
    finish_piece(i);
  }
  if (!plan_.sliced) communicator_.all_gather(gradients_.values<float>(), counts_);
}

void DataReducer::gather_values() {
  if (plan_.sliced) communicator_.all_gather(values_.values<float>(), counts_);
}

void DataReducer::gather_slices(std::span<float> whole, std::span<const float> slice) {
  if (plan_.sliced)
    communicator_.gather(whole, slice, counts_);
  else if (is_writer())
    std::ranges::copy(slice, whole.begin());
}

}  // namespace fern
