#include "framework/sparsity/top_k.h"

#include <algorithm>
#include <functional>

#include "framework/core/error.h"

namespace fern {

namespace {

// With few candidates a shrink is cheap beside a flush of offers.
constexpr size_t kLeastCapacity = 64;

}  // namespace

TopK::TopK(int64_t k) : k_(static_cast<size_t>(k)), limit_(std::max(2 * k_, kLeastCapacity)) {
  expect(k >= 0, "[top_k] expected to keep 0 or more, got {}", k);
  kept_.reserve(limit_);
  clear();
}

void TopK::clear() {
  kept_.clear();
  threshold_ = k_ == 0 ? std::numeric_limits<uint64_t>::max() : 0;
}

void TopK::shrink() {
  const auto last = kept_.begin() + static_cast<std::ptrdiff_t>(k_ - 1);
  std::nth_element(kept_.begin(), last, kept_.end(), std::greater<>());
  kept_.resize(k_);
  threshold_ = kept_.back();
}

std::vector<uint64_t> TopK::best(uint64_t first, uint64_t last) {
  if (kept_.size() > k_) shrink();
  std::vector<uint64_t> sorted;
  std::copy_if(kept_.begin(), kept_.end(), std::back_inserter(sorted),
               [&](uint64_t worth) { return first <= position_of(worth) && position_of(worth) < last; });
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  return sorted;
}

}  // namespace fern
