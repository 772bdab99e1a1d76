#include "parallel/region_reducer.h"

#include "framework/core/error.h"

namespace fern {

void RegionReducer::add(const Parameter& parameter) {
  size_t i = reducers_.size() - 1;
  while (i > 0 && parameter.offset < reducers_[i]->begin()) --i;
  reducers_[i]->add(parameter);
}

void RegionReducer::begin_shard() {
  for (const auto& reducer : reducers_) reducer->begin_shard();
}

void RegionReducer::begin_last_micro_batch() {
  for (const auto& reducer : reducers_) reducer->begin_last_micro_batch();
}

void RegionReducer::end_shard() {
  for (const auto& reducer : reducers_) reducer->end_shard();
}

void RegionReducer::finish() {
  for (const auto& reducer : reducers_) reducer->finish();
}

Slices RegionReducer::slices() const {
  Slices slices;
  for (const auto& reducer : reducers_) slices.add(reducer->slices(), reducer->begin());
  return slices;
}

Slices RegionReducer::counted() const {
  Slices slices;
  for (const auto& reducer : reducers_) slices.add(reducer->counted(), reducer->begin());
  return slices;
}

void RegionReducer::gather_values() {
  for (const auto& reducer : reducers_) reducer->gather_values();
}

void RegionReducer::gather_everywhere(std::span<float> whole, std::span<const float> slices) {
  for (const auto& reducer : reducers_) {
    const auto elements = static_cast<size_t>(reducer->elements()),
               own = static_cast<size_t>(reducer->slices().elements());
    reducer->gather_everywhere(whole.first(elements), slices.first(own));
    whole = whole.subspan(elements);
    slices = slices.subspan(own);
  }
}

Slices RegionReducer::slices_of(const Parameters& parameters) const {
  const std::vector<Region> regions = regions_of(parameters);
  expect(regions.size() == reducers_.size(), "[reducer] expected parameters in {} regions, got {}",
         reducers_.size(), regions.size());
  Slices slices;
  for (size_t i = 0; i < regions.size(); ++i)
    slices.add(reducers_[i]->kept_of(regions[i].elements()), regions[i].begin);
  return slices;
}

void RegionReducer::set_layout(const Parameters& parameters) {
  const std::vector<Region> regions = regions_of(parameters);
  expect(regions.size() == reducers_.size(), "[reducer] expected parameters in {} regions, got {}",
         reducers_.size(), regions.size());
  for (size_t i = 0; i < regions.size(); ++i) reducers_[i]->set_region(regions[i]);
}

int64_t RegionReducer::sent_bytes() const {
  int64_t bytes = 0;
  for (const auto& reducer : reducers_) bytes += reducer->sent_bytes();
  return bytes;
}

}  // namespace fern
