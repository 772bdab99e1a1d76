#include "framework/sparsity/methods/global_choice.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/core/error.h"

namespace fern {

namespace {

// What a block is worth against those of other weights: the sum of |weight|, as a number of which the larger
// counts.
uint32_t rank_of(std::span<const float> block) {
  float sum = 0;
  for (const float value : block) sum += std::abs(value);
  return static_cast<uint32_t>(worth_of(sum, 0) >> 32);
}

// Calls visit(rank) for each block of a weight. Ranks are found again in every pass: to keep them would take
// half as much memory as the weights' own values.
template <typename Visit>
void for_each_rank(const WeightView& view, const Visit& visit) {
  const auto elements = static_cast<size_t>(view.pattern.block().elements());
  for (size_t begin = 0; begin < view.values.size(); begin += elements)
    visit(rank_of(view.values.subspan(begin, elements)));
}

// How many ranks have each value of their last 16 bits.
class Histogram {
 public:
  void add(uint32_t rank, int64_t times) { counts_[rank & 0xFFFF] += times; }
  // The bits of the `count`th largest, from 1, which becomes its number among those with the same bits.
  uint32_t find(int64_t& count) const {
    uint32_t bits = 0xFFFF;
    for (; counts_[bits] < count; --bits) count -= counts_[bits];
    return bits;
  }

 private:
  std::vector<int64_t> counts_ = std::vector<int64_t>(1 << 16);
};

// The `count`th largest of all ranks but the largest of each weight. REQUIRES: there are as many.
uint32_t nth_largest(std::span<const WeightView> views, std::span<const uint32_t> largest, int64_t count) {
  Histogram high;
  for (size_t i = 0; i < views.size(); ++i) {
    for_each_rank(views[i], [&](uint32_t rank) { high.add(rank >> 16, 1); });
    if (!views[i].values.empty()) high.add(largest[i] >> 16, -1);
  }
  const uint32_t first = high.find(count);
  Histogram low;
  for (size_t i = 0; i < views.size(); ++i) {
    for_each_rank(views[i], [&](uint32_t rank) { low.add(rank, rank >> 16 == first ? 1 : 0); });
    if (!views[i].values.empty() && largest[i] >> 16 == first) low.add(largest[i], -1);
  }
  return first << 16 | low.find(count);
}

}  // namespace

int64_t sum(std::span<const int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

std::vector<int64_t> globally_largest(std::span<const WeightView> views, int64_t count) {
  std::vector<uint32_t> largest(views.size());
  std::vector<int64_t> counts(views.size()), equal(views.size());
  for (size_t i = 0; i < views.size(); ++i) {
    expect(std::ssize(views[i].values) == views[i].pattern.nonzeros(),
           "[global_choice] expected {} values, got {}", views[i].pattern.nonzeros(), views[i].values.size());
    for_each_rank(views[i], [&](uint32_t rank) { largest[i] = std::max(largest[i], rank); });
    counts[i] = views[i].values.empty() ? 0 : 1;
  }
  expect(count >= sum(counts), "[global_choice] expected room for the largest of {} weights, got {}",
         sum(counts), count);
  if (count == sum(counts)) return counts;
  const uint32_t least = nth_largest(views, largest, count - sum(counts));
  for (size_t i = 0; i < views.size(); ++i) {
    if (views[i].values.empty()) continue;
    for_each_rank(views[i], [&](uint32_t rank) {
      counts[i] += rank > least;
      equal[i] += rank == least;
    });
    counts[i] -= largest[i] > least;
    equal[i] -= largest[i] == least;
  }
  // Ties go to the earlier weight.
  for (size_t i = 0; i < views.size(); ++i) counts[i] += std::min(equal[i], count - sum(counts));
  return counts;
}

}  // namespace fern
